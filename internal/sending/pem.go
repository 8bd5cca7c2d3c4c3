package sending

import (
	"bytes"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// A block is what stands between a BEGIN and an END line of PEM.
type block struct {
	label string
	// der is nil where the text between them is not base64.
	der []byte
	// encrypted: it is a private key that takes a passphrase.
	encrypted bool
}

func (b block) isCertificate() bool {
	return b.label == "CERTIFICATE" || b.label == "X509 CERTIFICATE"
}

func (b block) isKey() bool {
	return b.label == "PRIVATE KEY" || strings.HasSuffix(b.label, " PRIVATE KEY")
}

// pem writes a certificate or a key anew, as crypto/tls and crypto/x509 read it.
func (b block) pem() []byte {
	label := b.label
	if b.isCertificate() {
		label = "CERTIFICATE"
	}
	return pem.EncodeToMemory(&pem.Block{Type: label, Bytes: b.der})
}

var (
	pemMark = regexp.MustCompile(`-----(BEGIN|END) ([A-Z0-9][A-Z0-9 #]{0,63})-----`)
	// pemRest is what is left of a mark, or of what stood between two, where one was
	// damaged: words of a mark, or a line of base64. Lines of digits alone are
	// fingerprints.
	pemRest = regexp.MustCompile(`(?i)\b(BEGIN|END) (X509 |TRUSTED )?CERTIFICATE\b|-----(BEGIN|END)\b|PRIVATE KEY-`)
	pemLine = regexp.MustCompile(`(?m)^[ \t]*[A-Za-z0-9+/]{40,}={0,2}[ \t]*$`)
	hexLine = regexp.MustCompile(`(?m)^[ \t]*[0-9A-Fa-f]{40,}[ \t]*$`)
	comment = regexp.MustCompile(`(?m)^[ \t]*#.*$`)
)

// readPEM reads all blocks of a text, or tells which of them is damaged: encoding/pem
// passes over what it cannot read. It takes what leaves no doubt: a byte order mark in
// front, marks that share a line with others or with a text, and white space of any
// kind in a block, or none; line breaks may be the two characters \n. Other text is a
// comment unless it looks like a part of a block. A line that begins with # is always
// one. An error says nothing of what it has read.
func readPEM(text []byte) ([]block, error) {
	switch {
	case bytes.HasPrefix(text, []byte("\xff\xfe")), bytes.HasPrefix(text, []byte("\xfe\xff")):
		return nil, errors.New("it is UTF-16 text: save it as UTF-8")
	case bytes.HasPrefix(bytes.TrimSpace(text), []byte("LS0tLS1CRUdJTi")):
		return nil, errors.New("it is in base64 twice: a Secret's data is encoded once, its stringData and a ConfigMap's data not at all")
	}
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	for _, newline := range []string{`\r\n`, `\n`, "\r\n", "\r"} {
		text = bytes.ReplaceAll(text, []byte(newline), []byte("\n"))
	}
	text = withoutComments(text)
	var blocks []block
	for {
		number := len(blocks) + 1
		begin := pemMark.FindSubmatchIndex(text)
		before := text
		if begin != nil {
			before = text[:begin[0]]
		}
		if looksDamaged(before) {
			return nil, fmt.Errorf("the text %s looks like a block that is damaged: one in PEM is from -----BEGIN CERTIFICATE----- to -----END CERTIFICATE-----", place(number, begin != nil))
		}
		if begin == nil {
			return blocks, nil
		}
		is, label := string(text[begin[2]:begin[3]]), string(text[begin[4]:begin[5]])
		if is == "END" {
			return nil, fmt.Errorf("there is an END line without a BEGIN line %s", place(number, true))
		}
		text = text[begin[1]:]
		end := pemMark.FindSubmatchIndex(text)
		if end == nil || string(text[end[2]:end[3]]) != "END" || string(text[end[4]:end[5]]) != label {
			return nil, fmt.Errorf("block %d has no END line of its own", number)
		}
		blocks = append(blocks, readBlock(label, text[:end[0]]))
		text = text[end[1]:]
	}
}

// place tells where a text is that belongs to no block.
func place(number int, more bool) string {
	switch {
	case number > 1:
		return fmt.Sprintf("after block %d", number-1)
	case more:
		return "before block 1"
	default:
		return "in it"
	}
}

// withoutComments empties the lines that begin with #, unless a mark shares one with
// other text: a line break may have been lost there.
func withoutComments(text []byte) []byte {
	return comment.ReplaceAllFunc(text, func(line []byte) []byte {
		if mark := pemMark.Find(line); mark == nil || bytes.Equal(bytes.Trim(line, "# \t"), mark) {
			return nil
		}
		return line
	})
}

func looksDamaged(text []byte) bool {
	return pemRest.Match(text) || pemLine.Match(hexLine.ReplaceAll(text, nil))
}

func readBlock(label string, text []byte) block {
	b := block{label: label}
	b.encrypted = b.isKey() && (strings.HasPrefix(label, "ENCRYPTED ") || bytes.Contains(text, []byte("ENCRYPTED")) && bytes.Contains(text, []byte("Proc-Type")))
	if der, err := base64.StdEncoding.DecodeString(string(bytes.Join(bytes.Fields(text), nil))); err == nil {
		b.der = der
	}
	return b
}

// notCertificates are blocks that get into bundles of certificates.
var notCertificates = map[string]string{
	"CERTIFICATE REQUEST":     "a request for a certificate",
	"NEW CERTIFICATE REQUEST": "a request for a certificate",
	"TRUSTED CERTIFICATE":     "a certificate with trust settings of OpenSSL, which openssl x509 takes away",
	"PKCS7":                   "a container, whose certificates openssl pkcs7 -print_certs takes out",
	"CMS":                     "a container",
	"X509 CRL":                "a list of revoked certificates",
	"PUBLIC KEY":              "a public key",
}

// describe tells what a block is that is no certificate. The label may be anything.
func (b block) describe() string {
	if what, ok := notCertificates[b.label]; ok {
		return what
	}
	if b.isKey() {
		return "a private key"
	}
	return "something else"
}
