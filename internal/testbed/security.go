package testbed

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

const (
	adminName     = "admin"
	adminPassword = "Test-admin-1!"
	// adminHash is bcrypt of adminPassword, by the security plugin's hash.sh.
	adminHash = "$2y$12$ABEFyX2zrtRXX9Bsg9s0au6miledUrmC1pxvAoDiMYjeKYBWfGsdy"
)

// securityConfig follows the node's other settings in opensearch.yml.
const securityConfig = `plugins.security.ssl.transport.pemcert_filepath: node.pem
plugins.security.ssl.transport.pemkey_filepath: node-key.pem
plugins.security.ssl.transport.pemtrustedcas_filepath: ca.pem
plugins.security.ssl.transport.enforce_hostname_verification: false
plugins.security.ssl.http.enabled: true
plugins.security.ssl.http.pemcert_filepath: node.pem
plugins.security.ssl.http.pemkey_filepath: node-key.pem
plugins.security.ssl.http.pemtrustedcas_filepath: ca.pem
plugins.security.allow_default_init_securityindex: true
plugins.security.nodes_dn: ["CN=node"]
`

const internalUsers = `_meta: {type: internalusers, config_version: 2}
` + adminName + `:
  hash: "` + adminHash + `"
  reserved: true
  backend_roles: ["admin"]
`

// credentials are what a client of a secure node needs besides the password.
type credentials struct {
	ca []byte // PEM
}

// secure writes certificates and the one user into the node's config folder.
func secure(at places) (*credentials, error) {
	config := filepath.Join(at.dir, "config")
	ca, err := writeCertificates(config)
	if err != nil {
		return nil, fmt.Errorf("write certificates: %w", err)
	}
	defaults := os.DirFS(filepath.Join(at.home, "plugins", "opensearch-security", "config"))
	own := filepath.Join(config, "opensearch-security")
	if err := os.CopyFS(own, defaults); err != nil {
		return nil, fmt.Errorf("copy security settings: %w", err)
	}
	if err := os.WriteFile(filepath.Join(own, "internal_users.yml"), []byte(internalUsers), 0o600); err != nil {
		return nil, fmt.Errorf("write users: %w", err)
	}
	return &credentials{ca: ca}, nil
}

// writeCertificates makes a CA and the node's certificate, writes the CA's
// certificate and the node's pair into dir, and returns the former.
func writeCertificates(dir string) (ca []byte, err error) {
	authority := certificateTemplate(1, "testbed-ca")
	authority.IsCA = true
	authority.KeyUsage = x509.KeyUsageCertSign
	authorityKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	node := certificateTemplate(2, "node")
	node.KeyUsage = x509.KeyUsageDigitalSignature
	node.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	node.DNSNames = []string{"localhost"}
	node.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	nodeKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}

	caDER, err := x509.CreateCertificate(rand.Reader, authority, authority, authorityKey.Public(), authorityKey)
	if err != nil {
		return nil, err
	}
	nodeDER, err := x509.CreateCertificate(rand.Reader, node, authority, nodeKey.Public(), authorityKey)
	if err != nil {
		return nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(nodeKey) // the only form that the plugin reads
	if err != nil {
		return nil, err
	}
	ca = encodePEM("CERTIFICATE", caDER)
	for name, content := range map[string][]byte{
		"ca.pem":       ca,
		"node.pem":     encodePEM("CERTIFICATE", nodeDER),
		"node-key.pem": encodePEM("PRIVATE KEY", keyDER),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			return nil, err
		}
	}
	return ca, nil
}

func certificateTemplate(serial int64, name string) *x509.Certificate {
	now := time.Now()
	return &x509.Certificate{
		SerialNumber:          big.NewInt(serial),
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             now.Add(-time.Hour),
		NotAfter:              now.AddDate(1, 0, 0),
		BasicConstraintsValid: true,
	}
}

func encodePEM(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}
