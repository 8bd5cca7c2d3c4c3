package controlplane

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

const fieldManager = "horizon-controlplane"

// InstallCRDs applies every CustomResourceDefinition in the YAML files of dir
// (its subdirectories excluded; other kinds, such as a kustomization, are
// passed over), and returns when the resources of all are served. The
// deadline of ctx bounds the wait, two minutes if there is none.
func (cp *ControlPlane) InstallCRDs(ctx context.Context, dir string) error {
	ctx, cancel := withDefaultTimeout(ctx)
	defer cancel()
	crds, err := readCRDs(dir)
	if err != nil {
		return fmt.Errorf("reading the CRDs of %s: %w", dir, err)
	}
	client, err := clientset.NewForConfig(cp.Config())
	if err != nil {
		return fmt.Errorf("creating a client: %w", err)
	}
	for _, crd := range crds {
		if err := applyCRD(ctx, client, crd); err != nil {
			return fmt.Errorf("applying the CRD %s: %w", crd.name, err)
		}
	}
	for _, crd := range crds {
		if err := waitServed(ctx, client, crd.name); err != nil {
			return fmt.Errorf("waiting for the CRD %s: %w", crd.name, err)
		}
	}
	return nil
}

// manifest is a CRD as its file has it: encoding the Go type again would add
// fields, such as an empty status, to what is applied.
type manifest struct {
	name string
	json []byte
}

func readCRDs(dir string) ([]manifest, error) {
	var paths []string
	for _, pattern := range []string{"*.yaml", "*.yml"} {
		matches, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			return nil, err
		}
		paths = append(paths, matches...)
	}
	slices.Sort(paths)

	var crds []manifest
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		found, err := parseCRDs(data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		crds = append(crds, found...)
	}
	if len(crds) == 0 {
		return nil, errors.New("there are none")
	}
	return crds, nil
}

func parseCRDs(data []byte) ([]manifest, error) {
	var crds []manifest
	docs := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(data)))
	for {
		doc, err := docs.Read()
		if errors.Is(err, io.EOF) {
			return crds, nil
		}
		if err != nil {
			return nil, err
		}
		var meta metav1.TypeMeta
		if err := yaml.Unmarshal(doc, &meta); err != nil {
			return nil, err
		}
		if meta.Kind != "CustomResourceDefinition" || meta.APIVersion != apiextensionsv1.SchemeGroupVersion.String() {
			continue
		}
		var crd apiextensionsv1.CustomResourceDefinition
		if err := yaml.UnmarshalStrict(doc, &crd); err != nil {
			return nil, err
		}
		body, err := yaml.YAMLToJSON(doc)
		if err != nil {
			return nil, err
		}
		crds = append(crds, manifest{name: crd.Name, json: body})
	}
}

// applyCRD applies on the server's side, so that a second time is no conflict.
func applyCRD(ctx context.Context, client clientset.Interface, crd manifest) error {
	force := true
	_, err := client.ApiextensionsV1().CustomResourceDefinitions().Patch(ctx, crd.name, types.ApplyPatchType, crd.json,
		metav1.PatchOptions{FieldManager: fieldManager, Force: &force, FieldValidation: metav1.FieldValidationStrict})
	return err
}

// waitServed waits for the condition Established and then for an answer from
// the resource itself, because the server may say the former a moment before
// it routes the latter.
func waitServed(ctx context.Context, client clientset.Interface, name string) error {
	tick := time.NewTicker(probeInterval)
	defer tick.Stop()
	for {
		served, err := isServed(ctx, client, name)
		if served {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-tick.C:
		}
	}
}

func isServed(ctx context.Context, client clientset.Interface, name string) (bool, error) {
	crd, err := client.ApiextensionsV1().CustomResourceDefinitions().Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return false, err
	}
	if !slices.ContainsFunc(crd.Status.Conditions, func(c apiextensionsv1.CustomResourceDefinitionCondition) bool {
		return c.Type == apiextensionsv1.Established && c.Status == apiextensionsv1.ConditionTrue
	}) {
		return false, fmt.Errorf("not established: %v", crd.Status.Conditions)
	}
	for _, v := range crd.Spec.Versions {
		if !v.Served {
			continue
		}
		err := client.ApiextensionsV1().RESTClient().Get().
			AbsPath("/apis", crd.Spec.Group, v.Name, crd.Spec.Names.Plural).
			Param("limit", "1").
			Do(ctx).Error()
		if err != nil {
			return false, err
		}
	}
	return true, nil
}
