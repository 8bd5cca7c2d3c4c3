package roomview

import (
	"strconv"
	"strings"
)

// Tones of colours.
const (
	good    = "good"
	bad     = "bad"
	warning = "warning"
	info    = "info"
	quiet   = "quiet"
)

// tones are colours by the names that services give them.
var tones = map[string]string{
	"good": good, "green": good, "turquoise": good, "wathet": info, "carmine": bad, "violet": info, "purple": info, "indigo": info,
	"red": bad, "danger": bad, "attention": bad,
	"warning": warning, "orange": warning, "yellow": warning,
	"info": info, "blue": info, "accent": info,
	"comment": quiet, "grey": quiet, "gray": quiet, "emphasis": quiet, "dark": quiet, "light": quiet, "default": "",
}

// toneOf returns the tone of a colour by its name, or of #rrggbb; empty for others.
func toneOf(name string) string {
	name = strings.ToLower(strings.TrimSpace(name))
	if hex, ok := strings.CutPrefix(name, "#"); ok && len(hex) == 6 {
		if n, err := strconv.ParseUint(hex, 16, 32); err == nil {
			return toneOfRGB(int(n))
		}
	}
	return tones[name]
}

// toneOfRGB returns the tone of 0xrrggbb by its hue.
func toneOfRGB(rgb int) string {
	r, g, b := rgb>>16&0xff, rgb>>8&0xff, rgb&0xff
	most, least := max(r, g, b), min(r, g, b)
	if most-least < 40 {
		return quiet
	}
	// 60 degrees for each sixth of the circle.
	var hue int
	switch most {
	case r:
		hue = (60*(g-b)/(most-least) + 360) % 360
	case g:
		hue = 60*(b-r)/(most-least) + 120
	default:
		hue = 60*(r-g)/(most-least) + 240
	}
	switch {
	case hue < 20 || hue >= 330:
		return bad
	case hue < 70:
		return warning
	case hue < 170:
		return good
	}
	return info
}
