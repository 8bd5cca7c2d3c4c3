package sending

import (
	"bytes"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"time"
)

const (
	// MaxAuthorities bounds a bundle of authorities, in bytes. Those of browsers and
	// operating systems fit.
	MaxAuthorities = 256 << 10
	// MaxCertificate bounds a client certificate with its chain, in bytes.
	MaxCertificate = 64 << 10
	// MaxKey bounds its key, in bytes. To check an RSA key takes the cube of its
	// length, for which no deadline holds: 0.7 s at this bound, and days for one that
	// fills a Secret. A key of maxRSAKey bits fits.
	MaxKey = 8 << 10
	// maxRSAKey bounds the keys of authorities, in bits, as crypto/tls bounds those
	// of the certificates that a receiver sends.
	maxRSAKey = 8192
)

// Authorities are who may vouch for a receiver, in place of the system's.
type Authorities struct {
	pool   *x509.CertPool
	digest [sha256.Size]byte
}

// ParseAuthorities reads certificates in PEM. What else is there is passed over, as
// is a certificate that cannot be read or used where others can: bundles have such.
// An error says nothing of what it has read.
func ParseAuthorities(bundle []byte) (*Authorities, error) {
	if len(bundle) > MaxAuthorities {
		return nil, fmt.Errorf("it has %d bytes, more than the %d that a CA bundle may have", len(bundle), MaxAuthorities)
	}
	pool := x509.NewCertPool()
	found, long := false, false
	for block, rest := pem.Decode(bundle); block != nil; block, rest = pem.Decode(rest) {
		if hasLongKey(block) {
			long = true
			continue
		}
		// What is parsed takes several times the room, so it is not kept from here:
		// the pool parses again what a chain needs.
		found = pool.AppendCertsFromPEM(pem.EncodeToMemory(block)) || found
	}
	switch {
	case found:
		return &Authorities{pool: pool, digest: sha256.Sum256(bundle)}, nil
	case long:
		return nil, fmt.Errorf("the certificate in it has an RSA key of more than %d bits", maxRSAKey)
	case bytes.Contains(bundle, []byte("-----BEGIN CERTIFICATE-----")):
		return nil, errors.New("the certificate in it cannot be read")
	default:
		return nil, errors.New("there is no certificate in it; one in PEM begins with -----BEGIN CERTIFICATE-----")
	}
}

// hasLongKey tells whether one signature of an authority would take long to check.
func hasLongKey(block *pem.Block) bool {
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return false
	}
	key, ok := c.PublicKey.(*rsa.PublicKey)
	return ok && key.N.BitLen() > maxRSAKey
}

// ClientCertificate is what this side shows to receivers that ask for a
// certificate. Printing it shows nothing of it.
type ClientCertificate struct {
	pair   tls.Certificate
	digest [sha256.Size]byte
}

// ParseClientCertificate reads a certificate, with those that link it to its
// authority, and its private key, both in PEM. An error says nothing of either but
// dates.
func ParseClientCertificate(certificate, key []byte, now time.Time) (*ClientCertificate, error) {
	switch {
	case len(certificate) > MaxCertificate:
		return nil, fmt.Errorf("tls.crt has %d bytes, more than the %d that a certificate may have", len(certificate), MaxCertificate)
	case len(key) > MaxKey:
		return nil, fmt.Errorf("tls.key has %d bytes, more than the %d that a private key may have", len(key), MaxKey)
	}
	block, _ := pem.Decode(certificate)
	switch {
	case block == nil || block.Type != "CERTIFICATE":
		return nil, errors.New("there is no certificate in tls.crt; one in PEM begins with -----BEGIN CERTIFICATE-----")
	case !parses(block):
		return nil, errors.New("the certificate in tls.crt cannot be read")
	}
	pair, err := tls.X509KeyPair(certificate, key)
	switch {
	case err != nil && strings.Contains(err.Error(), "does not match"):
		return nil, errors.New("the private key in tls.key is not that of the certificate in tls.crt")
	case err != nil:
		return nil, errors.New("there is no private key in tls.key that can be used; PEM is expected")
	case now.After(pair.Leaf.NotAfter):
		return nil, errors.New("the certificate expired on " + date(pair.Leaf.NotAfter))
	case now.Before(pair.Leaf.NotBefore):
		return nil, errors.New("the certificate is not yet valid: it is from " + date(pair.Leaf.NotBefore) + " on")
	}
	// The lengths keep two pairs from ever reading the same.
	all := fmt.Appendf(nil, "%d %d ", len(certificate), len(key))
	return &ClientCertificate{pair: pair, digest: sha256.Sum256(append(append(all, certificate...), key...))}, nil
}

func parses(block *pem.Block) bool {
	_, err := x509.ParseCertificate(block.Bytes)
	return err == nil
}

// Format hides the key whatever the verb.
func (c *ClientCertificate) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "[client certificate]")
}

func date(t time.Time) string { return t.UTC().Format(time.DateOnly) }

const (
	// maxNames and maxNameLen bound what is told of the names in a certificate:
	// the receiver has chosen them.
	maxNames   = 3
	maxNameLen = 64
)

// issuedFor names up to three of the hosts that a certificate is for, and only what
// looks like a host.
func issuedFor(c *x509.Certificate) string {
	names := slices.Clone(c.DNSNames)
	for _, address := range c.IPAddresses {
		names = append(names, address.String())
	}
	shown := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !showable(name) })
	shown = shown[:min(len(shown), maxNames)]
	switch more := len(names) - len(shown); {
	case len(names) == 0:
		return "no host"
	case len(shown) == 0:
		return fmt.Sprintf("%d other names", more)
	case more > 0:
		return fmt.Sprintf("%s and %d more", strings.Join(shown, ", "), more)
	default:
		return strings.Join(shown, ", ")
	}
}

func showable(name string) bool {
	if net.ParseIP(name) != nil {
		return true
	}
	return name != "" && len(name) <= maxNameLen && strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._*") == ""
}
