package browser

import (
	"bytes"
	"cmp"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/chromedp/cdproto/emulation"
	cdppage "github.com/chromedp/cdproto/page"
)

// pictures is where the documentation's are.
const pictures = "../../docs/images"

// picture writes the page into docs/images with -update, as wide as the documentation
// shows it and as tall as it is, up to 1000 px. Without -update it does nothing.
func (p *page) picture(name string) { p.pictureFrom(name, "body") }

// pictureFrom is picture for a page that is scrolled to an element.
func (p *page) pictureFrom(name, selector string) {
	p.t.Helper()
	if !*update {
		return
	}
	// Neither bars nor the room for them, and what sticks to the window at its own place.
	call(p, emulation.SetScrollbarsHidden, emulation.SetScrollbarsHiddenParams{Hidden: true})
	evaluate[bool](p, `(document.documentElement.style.scrollbarGutter = "auto", true)`)
	evaluate[bool](p, `(document.querySelector("`+selector+`").scrollIntoView(), true)`)
	from := evaluate[float64](p, `scrollY`)
	height := min(evaluate[float64](p, `document.documentElement.scrollHeight`)-from, 1000)
	p.capture(name, &cdppage.Viewport{Y: from, Width: usualWidth, Height: height, Scale: 1})
}

// pictureOf writes a picture of an element alone, with a margin, as picture does.
func (p *page) pictureOf(name, selector string) {
	p.t.Helper()
	if !*update {
		return
	}
	call(p, emulation.SetScrollbarsHidden, emulation.SetScrollbarsHiddenParams{Hidden: true})
	at := evaluate[struct{ X, Y, Width, Height float64 }](p, `(() => {
		const box = document.querySelector("`+selector+`").getBoundingClientRect();
		return {x: box.x + scrollX, y: box.y + scrollY, width: box.width, height: box.height};
	})()`)
	const margin = 3
	p.capture(name, &cdppage.Viewport{
		X: max(at.X-margin, 0), Y: max(at.Y-margin, 0), Width: at.Width + 2*margin, Height: at.Height + 2*margin, Scale: 1,
	})
}

// capture writes what a part of the page looks like.
func (p *page) capture(name string, clip *cdppage.Viewport) {
	p.t.Helper()
	shot := call(p, cdppage.CaptureScreenshot, cdppage.CaptureScreenshotParams{Clip: clip, CaptureBeyondViewport: new(true)})
	small, err := shrink(shot.Data)
	if err == nil {
		err = os.MkdirAll(pictures, 0o755)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(pictures, name+".png"), small, 0o644)
	}
	if err != nil {
		p.t.Fatalf("writing the picture %s: %v", name, err)
	}
}

// shrink makes a PNG of at most 256 colours of one: those that most pixels have, and
// for the rest the nearest of them. Pages have few; the rest is smoothed edges.
func shrink(data []byte) ([]byte, error) {
	full, err := png.Decode(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("reading a picture: %w", err)
	}
	bounds := full.Bounds()
	count := map[color.RGBA]int{}
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		for x := bounds.Min.X; x < bounds.Max.X; x++ {
			count[rgba(full.At(x, y))]++
		}
	}
	colours := slices.SortedFunc(maps.Keys(count), func(a, b color.RGBA) int {
		return cmp.Or(cmp.Compare(count[b], count[a]), cmp.Compare(a.R, b.R), cmp.Compare(a.G, b.G), cmp.Compare(a.B, b.B))
	})
	var palette color.Palette
	for _, c := range colours[:min(len(colours), 256)] {
		palette = append(palette, c)
	}
	index := map[color.RGBA]uint8{}
	for _, c := range colours {
		index[c] = uint8(palette.Index(c))
	}
	small := image.NewPaletted(bounds, palette)
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		for x := bounds.Min.X; x < bounds.Max.X; x++ {
			small.SetColorIndex(x, y, index[rgba(full.At(x, y))])
		}
	}
	var out bytes.Buffer
	encoder := png.Encoder{CompressionLevel: png.BestCompression}
	if err := encoder.Encode(&out, small); err != nil {
		return nil, fmt.Errorf("writing a picture: %w", err)
	}
	return out.Bytes(), nil
}

func rgba(c color.Color) color.RGBA { return color.RGBAModel.Convert(c).(color.RGBA) }
