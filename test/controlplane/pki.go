package controlplane

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"
)

// validity of every certificate: they are made anew at each Start.
const validity = 365 * 24 * time.Hour

// pki holds the certificates of one control plane. etcd has an authority of
// its own: with a shared one, every user whom the API server knows could read
// and write etcd past all authorization.
type pki struct {
	dir           string
	cluster, etcd *authority
	admin         keyPair
	etcdClient    tls.Certificate
}

// keyPair is a certificate with its key, PEM encoded.
type keyPair struct{ certPEM, keyPEM []byte }

// newPKI makes the certificates and writes what the processes read to dir/pki.
func newPKI(dir string) (*pki, error) {
	p := &pki{}
	var err error
	if p.dir, err = makeDir(dir, "pki"); err != nil {
		return nil, err
	}
	if p.cluster, err = newAuthority("horizon-controlplane"); err != nil {
		return nil, err
	}
	if p.etcd, err = newAuthority("horizon-controlplane-etcd"); err != nil {
		return nil, err
	}
	if p.admin, err = p.cluster.issueClient("kubernetes-admin", "system:masters"); err != nil {
		return nil, err
	}
	serving, err := p.cluster.issueServer()
	if err != nil {
		return nil, err
	}
	etcdServing, err := p.etcd.issueServer()
	if err != nil {
		return nil, err
	}
	etcdClient, err := p.etcd.issueClient("kube-apiserver")
	if err != nil {
		return nil, err
	}
	if p.etcdClient, err = tls.X509KeyPair(etcdClient.certPEM, etcdClient.keyPEM); err != nil {
		return nil, err
	}

	for name, data := range map[string][]byte{
		"ca.crt":          p.cluster.certPEM,
		"serving.crt":     serving.certPEM,
		"serving.key":     serving.keyPEM,
		"etcd-ca.crt":     p.etcd.certPEM,
		"etcd.crt":        etcdServing.certPEM,
		"etcd.key":        etcdServing.keyPEM,
		"etcd-client.crt": etcdClient.certPEM,
		"etcd-client.key": etcdClient.keyPEM,
	} {
		if err := os.WriteFile(p.file(name), data, 0o600); err != nil {
			return nil, err
		}
	}
	return p, p.keepServiceAccountKey()
}

// keepServiceAccountKey creates the key that signs service account tokens,
// unless the directory has one from an earlier start: tokens stay good.
func (p *pki) keepServiceAccountKey() error {
	path := p.file("service-account.key")
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	_, keyPEM, err := newKey()
	if err != nil {
		return err
	}
	return os.WriteFile(path, keyPEM, 0o600)
}

func (p *pki) file(name string) string { return filepath.Join(p.dir, name) }

// authority issues certificates.
type authority struct {
	cert    *x509.Certificate
	key     *ecdsa.PrivateKey
	certPEM []byte
}

func newAuthority(name string) (*authority, error) {
	key, _, err := newKey()
	if err != nil {
		return nil, err
	}
	template := newTemplate(pkix.Name{CommonName: name})
	template.IsCA = true
	template.BasicConstraintsValid = true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("signing the certificate of %s: %w", name, err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &authority{cert: cert, key: key, certPEM: encode("CERTIFICATE", der)}, nil
}

// issueServer issues a certificate for a server on loopback. It is a client's
// too: etcd presents it to itself, as a peer and from its HTTP gateway.
func (a *authority) issueServer() (keyPair, error) {
	return a.issue(pkix.Name{CommonName: "localhost"}, func(t *x509.Certificate) {
		t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
		t.DNSNames = []string{"localhost"}
		t.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
	})
}

// issueClient issues a certificate for a user, as Kubernetes reads it: the
// common name is the user, the organizations are the groups.
func (a *authority) issueClient(user string, groups ...string) (keyPair, error) {
	return a.issue(pkix.Name{CommonName: user, Organization: groups}, func(t *x509.Certificate) {
		t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	})
}

func (a *authority) issue(subject pkix.Name, adapt func(*x509.Certificate)) (keyPair, error) {
	key, keyPEM, err := newKey()
	if err != nil {
		return keyPair{}, err
	}
	template := newTemplate(subject)
	template.KeyUsage = x509.KeyUsageDigitalSignature
	adapt(template)
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		return keyPair{}, fmt.Errorf("signing the certificate of %s: %w", subject.CommonName, err)
	}
	return keyPair{certPEM: encode("CERTIFICATE", der), keyPEM: keyPEM}, nil
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

func newTemplate(subject pkix.Name) *x509.Certificate {
	now := time.Now()
	return &x509.Certificate{
		// Without a serial number CreateCertificate draws one.
		Subject:   subject,
		NotBefore: now.Add(-time.Hour),
		NotAfter:  now.Add(validity),
	}
}

func newKey() (*ecdsa.PrivateKey, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("generating a key: %w", err)
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, nil, fmt.Errorf("encoding a key: %w", err)
	}
	return key, encode("EC PRIVATE KEY", der), nil
}

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}
