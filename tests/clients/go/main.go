// Command clients asks for tokens with golang.org/x/oauth2 and verifies them with go-oidc, each with its defaults.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"os"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

type credential struct {
	ID     string `json:"id"`
	Secret string `json:"secret"`
}

type given struct {
	Issuer      string       `json:"issuer"`
	TokenURL    string       `json:"tokenUrl"`
	CA          string       `json:"ca"`
	Audience    string       `json:"audience"`
	Credentials []credential `json:"credentials"`
}

func main() {
	var all given
	if err := json.NewDecoder(os.Stdin).Decode(&all); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	pem, err := os.ReadFile(all.CA)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	ctx := context.WithValue(context.Background(), oauth2.HTTPClient, &http.Client{Transport: transport})
	for number, one := range all.Credentials {
		var token string
		for _, style := range []struct {
			name  string
			style oauth2.AuthStyle
		}{
			{"x/oauth2", oauth2.AuthStyleAutoDetect},
			{"x/oauth2, header", oauth2.AuthStyleInHeader},
			{"x/oauth2, parameters", oauth2.AuthStyleInParams},
		} {
			config := clientcredentials.Config{
				ClientID: one.ID, ClientSecret: one.Secret, TokenURL: all.TokenURL, AuthStyle: style.style,
			}
			got, err := config.Token(ctx)
			if err == nil {
				token = got.AccessToken
			}
			say(style.name, number, "token", token, err)
		}
		id, err := verify(ctx, all, token)
		say("go-oidc", number, "clientId", id, err)
	}
}

func verify(ctx context.Context, all given, token string) (string, error) {
	provider, err := oidc.NewProvider(ctx, all.Issuer)
	if err != nil {
		return "", err
	}
	verified, err := provider.Verifier(&oidc.Config{ClientID: all.Audience}).Verify(ctx, token)
	if err != nil {
		return "", err
	}
	var claims struct {
		ClientID string `json:"client_id"`
	}
	err = verified.Claims(&claims)
	return claims.ClientID, err
}

func say(library string, number int, field, value string, err error) {
	line := map[string]any{"library": library, "credential": number}
	if err != nil {
		line["error"] = err.Error()
	} else {
		line[field] = value
	}
	if err := json.NewEncoder(os.Stdout).Encode(line); err != nil {
		os.Exit(2)
	}
}
