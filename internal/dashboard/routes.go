package dashboard

import (
	"io/fs"
	"mime"
	"net/http"
	"path"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/horizoncd/webhook-operator/internal/roomview"
)

// routes are the pages, and the forms on them. The names of objects stand where no other
// word of a path can.
func (s *Session) routes() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.begin)
	mux.HandleFunc("GET /go", s.choose)
	mux.HandleFunc("GET /live", s.live)
	mux.HandleFunc("GET /assets/{file}", asset)

	mux.HandleFunc("GET /ns/{namespace}", s.toWebhooks)
	mux.HandleFunc("GET /ns/{namespace}/webhooks", s.page(showWebhooks))
	mux.HandleFunc("GET /ns/{namespace}/webhooks/{name}", s.page(showWebhook))
	s.addForm(mux)
	mux.HandleFunc("GET /ns/{namespace}/webhooks/{name}/delete", s.page(confirmDelete))
	mux.HandleFunc("POST /ns/{namespace}/webhooks/{name}/delete", s.action(deleteWebhook))
	mux.HandleFunc("POST /ns/{namespace}/webhooks/{name}/state", s.action(setState))
	mux.HandleFunc("POST /ns/{namespace}/webhooks/{name}/test", s.action(testWebhook))
	mux.HandleFunc("POST /ns/{namespace}/webhooks/{name}/replay", s.action(replayWebhook))
	mux.HandleFunc("POST /ns/{namespace}/webhooks/{name}/resend", s.action(resendMany))
	mux.HandleFunc("POST /ns/{namespace}/jobs/{job}/stop", s.action(stopJob))

	mux.HandleFunc("GET /ns/{namespace}/deliveries/{name}", s.page(showDelivery))
	mux.HandleFunc("POST /ns/{namespace}/deliveries/{name}/resend", s.action(resendOne))

	mux.HandleFunc("GET /ns/{namespace}/events", s.page(showEvents))
	mux.HandleFunc("GET /ns/{namespace}/events/{name}", s.page(showEvent))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.fail(w, &request{Request: r, session: s, namespace: s.options.Namespace, now: s.now()}, notFoundError("There is no such page."))
	})
	return mux
}

// begin leads to the Webhooks of the kubeconfig's namespace.
func (s *Session) begin(w http.ResponseWriter, r *http.Request) {
	http.Redirect(w, r, link(s.options.Namespace, "webhooks"), http.StatusSeeOther)
}

func (s *Session) toWebhooks(w http.ResponseWriter, r *http.Request) {
	http.Redirect(w, r, link(r.PathValue("namespace"), "webhooks"), http.StatusSeeOther)
}

// choose leads to a namespace that was chosen or typed.
func (s *Session) choose(w http.ResponseWriter, r *http.Request) {
	namespace, tab := r.URL.Query().Get("namespace"), r.URL.Query().Get("tab")
	if problems := validation.IsDNS1123Label(namespace); len(problems) > 0 {
		s.fail(w, &request{Request: r, session: s, namespace: s.options.Namespace, now: s.now()},
			badRequest("There is no namespace of that name: letters, digits and dashes make one."))
		return
	}
	if tab != "events" {
		tab = "webhooks"
	}
	http.Redirect(w, r, link(namespace, tab), http.StatusSeeOther)
}

// asset serves the stylesheet and the script, which are part of the program.
func asset(w http.ResponseWriter, r *http.Request) {
	file := r.PathValue("file")
	content, err := fs.ReadFile(assetFiles, path.Join("assets", file))
	if err != nil {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", mime.TypeByExtension(path.Ext(file)))
	if file == "style.css" { // messages of chat rooms bring their own
		content = append(content, roomview.Style...)
	}
	_, _ = w.Write(content)
}
