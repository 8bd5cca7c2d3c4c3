package browser

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-logr/logr"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/test/controlplane"
	"github.com/horizoncd/webhook-operator/test/operator"
	"github.com/horizoncd/webhook-operator/test/testbed"
)

const root = "../.."

// suite is what the tests on a real API server share. It is started by the first of them.
var suite operator.Stack

func TestMain(m *testing.M) {
	ctrl.SetLogger(logr.Discard())
	os.Exit(testbed.Run(m, func() error { return errors.Join(chromium.stop(), suite.Stop()) }))
}

// bed is what one test has for itself.
type bed struct{ testbed.Bed }

func newBed(t *testing.T) *bed {
	t.Helper()
	needBrowser(t) // and where there is none, nothing else is started
	return &bed{*testbed.New(t, &suite, root, "browser-")}
}

// kubeconfig writes one for a person who has the given ClusterRoles in the bed's
// namespace, and returns its path.
func (b *bed) kubeconfig(user string, clusterRoles ...string) string {
	b.Helper()
	path := filepath.Join(b.TempDir(), "kubeconfig")
	b.Expect(controlplane.WriteKubeconfig(path, b.Person(user, clusterRoles...))).To(Succeed())
	return path
}

// bygone makes an event one that no Webhook gets but by a replay.
func bygone(spec *v1alpha1.WebhookEventSpec) {
	spec.Time = metav1.NewTime(time.Now().Add(-10 * time.Minute))
}
