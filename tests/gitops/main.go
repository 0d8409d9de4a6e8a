// What GitOps tools make of our objects, by the tools' own libraries: kstatus, Flux' health expressions, and the Lua of Argo
// CD. Reads one JSON document with objects and expressions, and prints a verdict of each tool for each object.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"github.com/fluxcd/pkg/apis/kustomize"
	"github.com/fluxcd/pkg/runtime/cel"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// The scripts of one kind.
type scripts struct {
	Health    string                            `json:"health"`
	Discovery string                            `json:"discovery"`
	Actions   map[string]string                 `json:"actions"`
	Flux      *kustomize.HealthCheckExpressions `json:"flux"`
}

type input struct {
	Kinds   map[string]scripts `json:"kinds"`
	Objects []json.RawMessage  `json:"objects"`
}

type verdict struct {
	Kstatus string `json:"kstatus"`
	Flux    string `json:"flux,omitempty"`
	Argo    any    `json:"argo,omitempty"`
	// Which actions are offered, and what each of these makes of the object.
	Actions any            `json:"actions,omitempty"`
	After   map[string]any `json:"after,omitempty"`
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	var given input
	if err := json.NewDecoder(os.Stdin).Decode(&given); err != nil {
		return err
	}
	for _, raw := range given.Objects {
		// Not by encoding/json alone: the tools count on whole numbers.
		object := &unstructured.Unstructured{}
		if err := object.UnmarshalJSON(raw); err != nil {
			return err
		}
		judged, err := judge(object, given.Kinds[object.GetKind()])
		if err != nil {
			return fmt.Errorf("%s %s: %w", object.GetKind(), object.GetName(), err)
		}
		if err := json.NewEncoder(os.Stdout).Encode(judged); err != nil {
			return err
		}
	}
	return nil
}

func judge(object *unstructured.Unstructured, scripts scripts) (verdict, error) {
	var judged verdict
	computed, err := status.Compute(object)
	if err != nil {
		return judged, err
	}
	judged.Kstatus = computed.Status.String()
	if scripts.Flux != nil {
		evaluator, err := cel.NewStatusEvaluator(scripts.Flux)
		if err != nil {
			return judged, err
		}
		result, err := evaluator.Evaluate(context.Background(), object)
		if err != nil {
			return judged, err
		}
		judged.Flux = result.Status.String()
	}
	if scripts.Health != "" {
		if judged.Argo, err = runLua(scripts.Health, object.Object); err != nil {
			return judged, err
		}
	}
	if scripts.Discovery != "" {
		if judged.Actions, err = runLua(scripts.Discovery, object.Object); err != nil {
			return judged, err
		}
	}
	judged.After = map[string]any{}
	for name, action := range scripts.Actions {
		if judged.After[name], err = runLua(action, object.Object); err != nil {
			return judged, err
		}
	}
	return judged, nil
}
