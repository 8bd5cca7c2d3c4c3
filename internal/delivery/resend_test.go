package delivery

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
)

func TestResendPending(t *testing.T) {
	resent := func(value string) map[string]string {
		return map[string]string{v1alpha1.AnnotationResend: value, v1alpha1.AnnotationResent: ResendHash(value)}
	}
	long := strings.Repeat("x", 200<<10)
	for name, tc := range map[string]struct {
		annotations map[string]string
		want        bool
	}{
		"no annotations":                 {},
		"not asked for":                  {annotations: map[string]string{v1alpha1.AnnotationResent: ResendHash("1")}},
		"empty":                          {annotations: map[string]string{v1alpha1.AnnotationResend: ""}},
		"emptied":                        {annotations: map[string]string{v1alpha1.AnnotationResend: "", v1alpha1.AnnotationResent: ResendHash("1")}},
		"asked for":                      {annotations: map[string]string{v1alpha1.AnnotationResend: "1"}, want: true},
		"a space":                        {annotations: map[string]string{v1alpha1.AnnotationResend: " "}, want: true},
		"honoured":                       {annotations: resent("1")},
		"asked for again":                {annotations: map[string]string{v1alpha1.AnnotationResend: "2", v1alpha1.AnnotationResent: ResendHash("1")}, want: true},
		"200 KiB":                        {annotations: map[string]string{v1alpha1.AnnotationResend: long}, want: true},
		"200 KiB, honoured":              {annotations: resent(long)},
		"200 KiB that differ at the end": {annotations: map[string]string{v1alpha1.AnnotationResend: long + "y", v1alpha1.AnnotationResent: ResendHash(long)}, want: true},
		"unicode":                        {annotations: map[string]string{v1alpha1.AnnotationResend: "\u97f3\U0001f3b5\u0000"}, want: true},
		"unicode, honoured":              {annotations: resent("\u97f3\U0001f3b5\u0000")},
		"the hash is not the value":      {annotations: map[string]string{v1alpha1.AnnotationResend: ResendHash("1"), v1alpha1.AnnotationResent: ResendHash("1")}, want: true},
	} {
		t.Run(name, func(t *testing.T) {
			if got := ResendPending(tc.annotations); got != tc.want {
				t.Errorf("ResendPending = %t, want %t", got, tc.want)
			}
		})
	}
}

// Each distinct value is honoured once, whatever it is made of.
func TestEachValueOfTheAnnotationIsOneResend(t *testing.T) {
	d := fresh()
	AddAttempt(d, attempt(v1alpha1.CauseInitial, exchange(200, now)))
	d = stored(t, d)
	values := []string{"\u97f3\U0001f3b5", strings.Repeat("\U0001f3b5", 50<<10), strings.Repeat("y", 200<<10), "x\x00y", " ", "\n"}
	for n := range 1000 {
		values = append(values, fmt.Sprint(n))
	}
	for n, value := range values {
		annotate(d, value)
		if !ResendPending(d.Annotations) {
			t.Fatalf("value %d is not seen", n)
		}
		resend(d, value, exchange(200, now))
		if ResendPending(d.Annotations) {
			t.Fatalf("value %d is not honoured", n)
		}
		if got := utf8.RuneCountInString(d.Status.Resend.Value); got > 128 || !strings.HasPrefix(value, d.Status.Resend.Value) {
			t.Fatalf("resend.value has %d characters: %.40q", got, d.Status.Resend.Value)
		}
		d = stored(t, d)
	}
	if got, want := d.Status.Attempts, int32(1+len(values)); got != want {
		t.Errorf("%d attempts, want %d", got, want)
	}
	if size := len(d.Status.History); size != 10 {
		t.Errorf("a history of %d", size)
	}
}
