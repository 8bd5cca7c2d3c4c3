package browser

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// These tests are of the harness: that it finds what there is, and that each of its
// checks finds what is wrong.

// serve serves one HTML body, and what else is given by path.
func serve(t *testing.T, body string, more map[string]http.HandlerFunc) string {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; form-action 'self'; connect-src 'self'")
		fmt.Fprintf(w, `<!doctype html><html lang="en"><head><title>A page</title><meta name="viewport" content="width=device-width">
			<link rel="icon" href="/icon.svg"><link rel="stylesheet" href="/style.css"></head><body><main><h1>A page</h1>%s</main></body></html>`, body)
	})
	mux.HandleFunc("/icon.svg", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "image/svg+xml")
		fmt.Fprint(w, `<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"/>`)
	})
	mux.HandleFunc("/style.css", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/css")
		fmt.Fprint(w, `:root { color-scheme: light dark } .pale { color: #bbb; background: #fff } .wide { width: 2000px } .flat:focus { outline: none }
			.hidden { visibility: hidden } .under { position: relative } .over { position: absolute; inset: 0; margin: 0 } .away { position: fixed; left: -100px }`)
	})
	for path, handler := range more {
		mux.HandleFunc(path, handler)
	}
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL
}

func TestHarnessPlaysAPerson(t *testing.T) {
	form := `<p>Nothing yet.</p>
		<form method="post" action="/saved">
			<label>Name <input name="name"></label>
			<label>Note <textarea name="note">old</textarea></label>
			<label><input type="checkbox" name="verify" checked> Verify</label>
			<label>State <select name="state"><option value="a">Active</option><option value="p">Paused</option></select></label>
			<button>Submit</button>
			<button disabled>Never</button>
		</form>
		<table><tbody>
			<tr><th scope="row">first</th><td><a href="/one">Edit</a></td></tr>
			<tr><th scope="row">second</th><td><a href="/two">Edit</a></td></tr>
		</tbody></table>`
	p := newPage(t, serve(t, form, map[string]http.HandlerFunc{
		"/saved": func(w http.ResponseWriter, r *http.Request) {
			if err := r.ParseForm(); err != nil {
				t.Error(err)
			}
			fmt.Fprintf(w, `<!doctype html><html lang="en"><title>Saved</title><link rel="icon" href="/icon.svg"><p>%s %s %s %s %s</p>`,
				r.Method, r.Form["name"], r.Form["note"], r.Form["verify"], r.Form["state"])
		},
	}))

	p.open("/")
	p.waitFor("Nothing yet.")
	p.fill("Name", "orders")
	p.fill("Note", "two\nlines")
	p.check("Verify", false)
	p.choose("State", "Paused")
	p.click("button", "Submit")
	if got, want := squeeze(p.text("p")), "POST [orders] [two lines] [] [p]"; got != want {
		t.Errorf("sent %q, want %q", got, want)
	}
	if got := p.path(); got != "/saved" {
		t.Errorf("the path is %s", got)
	}

	p.open("/")
	p.row("second").click("link", "Edit")
	if got := p.path(); got != "/two" {
		t.Errorf("the path is %s", got)
	}
	p.back()
	if got := p.in("table", "").names("link"); !slices.Equal(got, []string{"Edit", "Edit"}) {
		t.Errorf("the links are %q", got)
	}

	p.tabTo("textbox", "Name")
	p.write("by keys")
	p.tabTo("checkbox", "Verify")
	p.press("Space", "Shift+Tab", "Control+a", "Delete")
	p.tabTo("button", "Submit")
	p.press("Enter")
	if got, want := squeeze(p.text("p")), "POST [by keys] [] [] [a]"; got != want {
		t.Errorf("sent %q, want %q", got, want)
	}
	if !slices.Contains(p.requests(), "POST "+p.site+"/saved") {
		t.Errorf("the requests are %q", p.requests())
	}

	second := p.another()
	second.open("/")
	second.waitFor("Nothing yet.")
	second.reload()
	if second.gone("button", "No such"); !second.has("button", "Never") {
		t.Error("the second tab has no button")
	}
}

// What no person could click, the harness does not click.
func TestHarnessRefusesToClick(t *testing.T) {
	p := newPage(t, serve(t, `<button disabled>Disabled</button><div class="under"><button>Covered</button><p class="over">Over</p></div>
		<button class="hidden">Invisible</button>`, nil))
	p.open("/")
	for name, want := range map[string]string{
		"Disabled": "is disabled", "Covered": `covered by <p class="over">`,
	} {
		if err := p.clickNode(p.find("button", name)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("clicking %s: %v, want: %s", name, err, want)
		}
	}
	if p.has("button", "Invisible") {
		t.Error("a button is found that nobody can see")
	}
}

func TestHarnessSeesWhereTheFocusIs(t *testing.T) {
	p := newPage(t, serve(t, `<a href="/1">Plain</a> <a href="/2" class="flat">Flat</a> <a href="/3" class="away">Away</a>`, nil))
	p.open("/")
	for _, want := range []string{"", "has neither outline nor shadow", "is outside the window"} {
		p.press("Tab")
		if got := evaluate[string](p, focusProblem); got != want {
			t.Errorf("%s: %q, want %q", p.focused(), got, want)
		}
	}
}

func TestHarnessFindsViolations(t *testing.T) {
	p := newPage(t, serve(t, `<p>All is well.</p>`, nil))
	p.open("/")
	p.axe("harmless")

	p = newPage(t, serve(t, `<p class="pale">Pale.</p><input><p class="wide">Wide.</p>`, nil))
	p.open("/")
	found := strings.Join(p.violations(), "\n")
	for _, want := range []string{
		"light, 375 px: color-contrast (serious)", "dark, 1600 px: color-contrast", "light, 1600 px: label (critical)",
		"light, 375 px: reaches beyond the window: <p class=\"wide\">", "dark, 1600 px: reaches beyond the window",
	} {
		if !strings.Contains(found, want) {
			t.Errorf("no %q in\n%s", want, found)
		}
	}
}

func TestPicturesAreSmall(t *testing.T) {
	full := image.NewRGBA(image.Rect(0, 0, 200, 200))
	for y := range 200 {
		for x := range 200 {
			full.SetRGBA(x, y, color.RGBA{R: uint8(x), G: uint8(y), B: 200, A: 255})
			if y < 100 {
				full.SetRGBA(x, y, color.RGBA{R: 255, A: 255})
			}
		}
	}
	var data bytes.Buffer
	if err := png.Encode(&data, full); err != nil {
		t.Fatal(err)
	}
	small, err := shrink(data.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	got, err := png.Decode(bytes.NewReader(small))
	if err != nil {
		t.Fatal(err)
	}
	if palette := got.(*image.Paletted).Palette; len(palette) != 256 {
		t.Errorf("%d colours", len(palette))
	}
	if c := rgba(got.At(50, 50)); c != (color.RGBA{R: 255, A: 255}) {
		t.Errorf("the colour of most pixels has become %v", c)
	}
	if got.Bounds() != full.Bounds() {
		t.Errorf("the size is %v", got.Bounds())
	}
}

func TestHarnessKeepsARecord(t *testing.T) {
	tests := map[string]struct {
		body, script string
		want         string
	}{
		"inline script":    {body: `<script>1</script>`, want: "security error: .*Content Security Policy"},
		"inline style":     {body: `<p style="color: red">Red</p>`, want: "Content Security Policy"},
		"foreign image":    {body: `<img alt="" src="http://127.0.0.2/x.png">`, want: "127.0.0.2/x.png"},
		"broken link":      {body: `<img alt="" src="/missing">`, want: "404"},
		"console":          {script: `console.error("oh")`, want: `console.error: "oh"`},
		"exception":        {script: `nothing.at.all`, want: "exception: ReferenceError"},
		"rejected promise": {script: `Promise.reject(new Error("no"))`, want: "exception: Error: no"},
		"dialog":           {script: `alert("hello")`, want: "alert dialog: hello"},
		"navigation":       {script: `location = "http://elsewhere.example/"`, want: "asked another host: GET http://elsewhere.example/"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			p := newPage(t, serve(t, test.body+`<p>Here.</p><script src="/script.js"></script>`, map[string]http.HandlerFunc{
				"/script.js": func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set("Content-Type", "text/javascript")
					fmt.Fprint(w, test.script)
				},
				"/missing": http.NotFound,
			}))
			p.open("/")
			found := strings.Join(p.complaints(), "\n")
			if !regexp.MustCompile(test.want).MatchString(found) {
				t.Errorf("no %q on the record:\n%s", test.want, found)
			}
			p.expect(test.want)
			p.open("/")
			for _, problem := range p.complaints() {
				t.Errorf("expected, and on the record all the same: %s", problem)
			}
		})
	}
}
