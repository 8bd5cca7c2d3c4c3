package sending

import (
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
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

// ParseAuthorities reads certificates in PEM. One that cannot be read or used is an
// error, as is any other block: what somebody thinks is trusted must not be left out in
// silence. An error tells the number of the block and nothing of what it has read.
func ParseAuthorities(bundle []byte) (*Authorities, error) {
	if len(bundle) > MaxAuthorities {
		return nil, fmt.Errorf("it has %d bytes, more than the %d that a CA bundle may have", len(bundle), MaxAuthorities)
	}
	blocks, err := readPEM(bundle)
	if err != nil {
		return nil, err
	}
	if len(blocks) == 0 {
		return nil, errors.New("there is no certificate in it; one in PEM begins with -----BEGIN CERTIFICATE-----")
	}
	pool := x509.NewCertPool()
	for i, b := range blocks {
		if err := usable(b); err != nil {
			return nil, fmt.Errorf("block %d %w", i+1, err)
		}
		// What is parsed takes several times the room, so it is not kept from here:
		// the pool parses again what a chain needs.
		pool.AppendCertsFromPEM(b.pem())
	}
	return &Authorities{pool: pool, digest: sha256.Sum256(bundle)}, nil
}

// usable tells why a block is no authority.
func usable(b block) error {
	if !b.isCertificate() {
		return errors.New("is not a certificate but " + b.describe() + ": take it out")
	}
	if b.der == nil {
		return errors.New("is damaged: what stands in it is not base64")
	}
	c, err := x509.ParseCertificate(b.der)
	if err != nil {
		return errors.New("cannot be read as a certificate")
	}
	if key, ok := c.PublicKey.(*rsa.PublicKey); ok && key.N.BitLen() > maxRSAKey {
		return fmt.Errorf("has an RSA key of more than %d bits, and one signature of it would take long to check", maxRSAKey)
	}
	return nil
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
	chain, err := readChain(certificate)
	if err != nil {
		return nil, err
	}
	private, err := readKey(key)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(chain, private)
	switch {
	case err != nil && strings.Contains(err.Error(), "does not match"):
		return nil, errors.New("the private key in tls.key is not that of the certificate in tls.crt")
	case err != nil:
		return nil, errors.New(noKey)
	case now.After(pair.Leaf.NotAfter):
		return nil, errors.New("the certificate expired on " + date(pair.Leaf.NotAfter))
	case now.Before(pair.Leaf.NotBefore):
		return nil, errors.New("the certificate is not yet valid: it is from " + date(pair.Leaf.NotBefore) + " on")
	}
	// The lengths keep two pairs from ever reading the same.
	all := fmt.Appendf(nil, "%d %d ", len(certificate), len(key))
	return &ClientCertificate{pair: pair, digest: sha256.Sum256(append(append(all, certificate...), key...))}, nil
}

const noKey = "there is no private key in tls.key that can be used; PEM is expected"

// readChain reads the certificates of tls.crt. Other blocks are left out, as the key that
// some keep with them.
func readChain(text []byte) ([]byte, error) {
	blocks, err := readPEM(text)
	if err != nil {
		return nil, fmt.Errorf("tls.crt cannot be read: %w", err)
	}
	var chain []byte
	for i, b := range blocks {
		if !b.isCertificate() {
			continue
		}
		if _, err := x509.ParseCertificate(b.der); err != nil {
			return nil, fmt.Errorf("the certificate in block %d of tls.crt cannot be read", i+1)
		}
		chain = append(chain, b.pem()...)
	}
	if chain == nil {
		return nil, errors.New("there is no certificate in tls.crt; one in PEM begins with -----BEGIN CERTIFICATE-----")
	}
	return chain, nil
}

// readKey reads the first private key of tls.key. Parameters of its curve may stand
// before it.
func readKey(text []byte) ([]byte, error) {
	blocks, err := readPEM(text)
	if err != nil {
		return nil, fmt.Errorf("tls.key cannot be read: %w", err)
	}
	for _, b := range blocks {
		switch {
		case b.encrypted:
			return nil, errors.New("the private key in tls.key is encrypted: openssl pkey takes the passphrase away")
		case b.isKey() && b.der != nil:
			return b.pem(), nil
		}
	}
	return nil, errors.New(noKey)
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
