package controlplane

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

const fieldManager = "horizon-controlplane"

// InstallCRDs applies every CustomResourceDefinition in the YAML files of dir
// (its subdirectories excluded; other kinds, such as a kustomization, are
// passed over), and returns when the resources of all are served, and watched
// by the controller manager if one runs. The deadline of ctx bounds the wait,
// two minutes if there is none.
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
	news := false
	for _, crd := range crds {
		created, err := applyCRD(ctx, client, crd)
		if err != nil {
			return fmt.Errorf("applying the CRD %s: %w", crd.name, err)
		}
		news = news || created
	}
	for _, crd := range crds {
		if err := waitServed(ctx, client, crd.name); err != nil {
			return fmt.Errorf("waiting for the CRD %s: %w", crd.name, err)
		}
	}
	if news && cp.ControllerManager != nil && cp.ControllerManager.Pid() != 0 {
		// The garbage collector looks for new kinds every 30 s only, but also
		// when it starts, and that takes no second.
		return cp.ControllerManager.Restart(ctx)
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

// applyCRD applies on the server's side, so that a second time is no conflict,
// and tells whether the CRD is new.
func applyCRD(ctx context.Context, client clientset.Interface, crd manifest) (created bool, _ error) {
	status := 0
	err := client.ApiextensionsV1().RESTClient().Patch(types.ApplyPatchType).
		Resource("customresourcedefinitions").
		Name(crd.name).
		Param("fieldManager", fieldManager).
		Param("force", "true").
		Param("fieldValidation", metav1.FieldValidationStrict).
		Body(crd.json).
		Do(ctx).
		StatusCode(&status).
		Error()
	return status == http.StatusCreated, err
}

// waitServed waits for the condition Established, then for an answer from the
// resource itself and for its place in discovery, because the server may say
// the first a moment before the others are true.
func waitServed(ctx context.Context, client clientset.Interface, name string) error {
	return Poll(ctx, probeInterval, nil, func(ctx context.Context) error { return isServed(ctx, client, name) })
}

func isServed(ctx context.Context, client clientset.Interface, name string) error {
	crd, err := client.ApiextensionsV1().CustomResourceDefinitions().Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(crd.Status.Conditions, func(c apiextensionsv1.CustomResourceDefinitionCondition) bool {
		return c.Type == apiextensionsv1.Established && c.Status == apiextensionsv1.ConditionTrue
	}) {
		return fmt.Errorf("not established: %v", crd.Status.Conditions)
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
			return err
		}
	}
	return isDiscovered(client, crd)
}

// isDiscovered asks for everything at once, as kubectl and the controllers do:
// that answer is put together from others, and last.
func isDiscovered(client clientset.Interface, crd *apiextensionsv1.CustomResourceDefinition) error {
	_, lists, err := client.Discovery().ServerGroupsAndResources()
	if err != nil {
		return err
	}
	for _, v := range crd.Spec.Versions {
		gv := schema.GroupVersion{Group: crd.Spec.Group, Version: v.Name}.String()
		if v.Served && !slices.ContainsFunc(lists, func(l *metav1.APIResourceList) bool {
			return l.GroupVersion == gv && slices.ContainsFunc(l.APIResources, func(r metav1.APIResource) bool {
				return r.Name == crd.Spec.Names.Plural
			})
		}) {
			return fmt.Errorf("discovery does not list %s of %s", crd.Spec.Names.Plural, gv)
		}
	}
	return nil
}
