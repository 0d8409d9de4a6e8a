import com.nimbusds.jose.JWSAlgorithm;
import com.nimbusds.jose.JOSEObjectType;
import com.nimbusds.jose.jwk.source.JWKSourceBuilder;
import com.nimbusds.jose.proc.DefaultJOSEObjectTypeVerifier;
import com.nimbusds.jose.proc.JWSVerificationKeySelector;
import com.nimbusds.jose.proc.SecurityContext;
import com.nimbusds.jose.util.DefaultResourceRetriever;
import com.nimbusds.jose.util.JSONObjectUtils;
import com.nimbusds.jwt.JWTClaimsSet;
import com.nimbusds.jwt.proc.DefaultJWTClaimsVerifier;
import com.nimbusds.jwt.proc.DefaultJWTProcessor;
import com.nimbusds.oauth2.sdk.ClientCredentialsGrant;
import com.nimbusds.oauth2.sdk.TokenRequest;
import com.nimbusds.oauth2.sdk.TokenResponse;
import com.nimbusds.oauth2.sdk.as.AuthorizationServerMetadata;
import com.nimbusds.oauth2.sdk.auth.ClientAuthentication;
import com.nimbusds.oauth2.sdk.auth.ClientSecretBasic;
import com.nimbusds.oauth2.sdk.auth.ClientSecretPost;
import com.nimbusds.oauth2.sdk.auth.Secret;
import com.nimbusds.oauth2.sdk.http.HTTPRequest;
import com.nimbusds.oauth2.sdk.id.ClientID;
import com.nimbusds.oauth2.sdk.id.Issuer;
import java.io.FileInputStream;
import java.net.URI;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.util.HashMap;
import java.util.Map;
import java.util.Set;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLSocketFactory;
import javax.net.ssl.TrustManagerFactory;

/** Nimbus, which is also what Spring Security stands on, as a client and as a verifier. */
public class Clients {
    private interface Action {
        String run() throws Exception;
    }

    public static void main(String[] arguments) throws Exception {
        Map<String, Object> given = JSONObjectUtils.parse(new String(System.in.readAllBytes(), "UTF-8"));
        SSLSocketFactory tls = trusting(JSONObjectUtils.getString(given, "ca"));
        HTTPRequest.setDefaultSSLSocketFactory(tls);
        URI tokenUrl = URI.create(JSONObjectUtils.getString(given, "tokenUrl"));
        String issuer = JSONObjectUtils.getString(given, "issuer");
        String audience = JSONObjectUtils.getString(given, "audience");
        int number = 0;
        for (Map<String, Object> credential : JSONObjectUtils.getJSONObjectArray(given, "credentials")) {
            ClientID id = new ClientID(JSONObjectUtils.getString(credential, "id"));
            Secret secret = new Secret(JSONObjectUtils.getString(credential, "secret"));
            int at = number++;
            String token = run("Nimbus, Basic", at, "token", () -> ask(tokenUrl, new ClientSecretBasic(id, secret)));
            run("Nimbus, post", at, "token", () -> ask(tokenUrl, new ClientSecretPost(id, secret)));
            run("Nimbus", at, "clientId", () -> verify(issuer, audience, token, tls));
        }
    }

    private static String ask(URI tokenUrl, ClientAuthentication authentication) throws Exception {
        TokenRequest request = new TokenRequest.Builder(tokenUrl, authentication, new ClientCredentialsGrant()).build();
        TokenResponse response = TokenResponse.parse(request.toHTTPRequest().send());
        if (!response.indicatesSuccess()) {
            throw new IllegalStateException(response.toErrorResponse().getErrorObject().toString());
        }
        return response.toSuccessResponse().getTokens().getAccessToken().getValue();
    }

    private static String verify(String issuer, String audience, String token, SSLSocketFactory tls) throws Exception {
        AuthorizationServerMetadata metadata = AuthorizationServerMetadata.resolve(new Issuer(issuer));
        DefaultResourceRetriever retriever = new DefaultResourceRetriever(5000, 5000, 0, true, tls);
        DefaultJWTProcessor<SecurityContext> processor = new DefaultJWTProcessor<>();
        processor.setJWSTypeVerifier(new DefaultJOSEObjectTypeVerifier<>(new JOSEObjectType("at+jwt")));
        processor.setJWSKeySelector(new JWSVerificationKeySelector<>(
                Set.of(JWSAlgorithm.RS256, JWSAlgorithm.ES256),
                JWKSourceBuilder.create(metadata.getJWKSetURI().toURL(), retriever).build()));
        JWTClaimsSet exactly = new JWTClaimsSet.Builder().issuer(issuer).build();
        Set<String> required = Set.of("sub", "exp", "iat", "jti", "client_id");
        processor.setJWTClaimsSetVerifier(new DefaultJWTClaimsVerifier<>(audience, exactly, required));
        return processor.process(token, null).getStringClaim("client_id");
    }

    private static SSLSocketFactory trusting(String file) throws Exception {
        KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
        store.load(null);
        try (FileInputStream pem = new FileInputStream(file)) {
            store.setCertificateEntry("ca", CertificateFactory.getInstance("X.509").generateCertificate(pem));
        }
        TrustManagerFactory trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        trust.init(store);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(null, trust.getTrustManagers(), null);
        return context.getSocketFactory();
    }

    private static String run(String library, int credential, String field, Action action) {
        Map<String, Object> line = new HashMap<>(Map.of("library", library, "credential", credential));
        String value = null;
        try {
            value = action.run();
            line.put(field, value);
        } catch (Exception error) {
            line.put("error", error.toString());
        }
        System.out.println(JSONObjectUtils.toJSONString(line));
        return value;
    }
}
