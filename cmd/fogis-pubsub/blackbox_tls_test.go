package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/PitchConnect/fogispubsub/internal/realredis"
)

// A certificate that is not accepted is named by what is wrong with it: by check,
// and in the error of publish, which then cannot have delivered anything.
func TestBlackbox_tls_certificateFaultsAreNamed(t *testing.T) {
	t.Parallel()
	year := 365 * 24 * time.Hour
	for _, test := range []struct {
		name        string
		host        string
		begin, end  time.Duration
		known       bool
		plain       bool // no TLS at all
		says, cures string
	}{
		{name: "expired", host: "127.0.0.1", begin: -2 * year, end: -year, known: true,
			says: "certificate has expired", cures: "has expired or is not valid yet: renew it"},
		{name: "not valid yet", host: "127.0.0.1", begin: year, end: 2 * year, known: true,
			says: "is not yet valid", cures: "has expired or is not valid yet: renew it"},
		{name: "wrong name", host: "192.0.2.7", begin: -year, end: year, known: true,
			says: "certificate is valid for 192.0.2.7", cures: "is for another host: set REDIS_URL"},
		{name: "unknown authority", host: "127.0.0.1", begin: -year, end: year,
			says: "unknown authority", cures: "SSL_CERT_FILE"},
		{name: "no TLS", plain: true, says: "does not look like a TLS handshake", cures: "set REDIS_URL to redis://"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			env := map[string]string{"FOGIS_SERVICE_NAME": "processor", "REDIS_MAX_RETRIES": "0", "REDIS_DURABLE": "false"}
			if test.plain {
				listener, err := net.Listen("tcp", "127.0.0.1:0")
				require.NoError(t, err)
				answerPlain(t, listener)
				env["REDIS_URL"] = "rediss://" + listener.Addr().String()
			} else {
				address, authority := withCertificate(t, test.host, time.Now().Add(test.begin), time.Now().Add(test.end))
				env["REDIS_URL"] = "rediss://" + address
				if test.known {
					env["SSL_CERT_FILE"] = authority
				}
			}
			check := operate(t, env, "check")
			require.Equal(t, exitUnhealthy, check.code, check.stderr)
			for _, text := range []string{check.stdout, check.stderr} {
				require.Contains(t, text, test.says)
				require.Contains(t, text, test.cures)
				require.NotContains(t, text, "that the server runs")
			}
			published := operate(t, env, "publish", "matches", "--file", snapshot(t, 1))
			require.Equal(t, exitFailed, published.code)
			require.Contains(t, published.stderr, test.says)
			require.NotContains(t, published.stderr, "may have been delivered")
			require.NotContains(t, published.stderr, "is Redis running")
		})
	}
}

// The certificate that is accepted shows that these tests refuse for its fault alone.
func TestBlackbox_tls_goodCertificateIsAccepted(t *testing.T) {
	t.Parallel()
	address, authority := withCertificate(t, "127.0.0.1", time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	env := map[string]string{"REDIS_URL": "rediss://" + address, "SSL_CERT_FILE": authority, "REDIS_DURABLE": "true", "FOGIS_SERVICE_NAME": "processor"}
	receipt, _ := publishes(t, env, 1)
	require.Equal(t, "stream", receipt["route"])
}

// answerPlain answers whatever comes first as a server without TLS does.
func answerPlain(t *testing.T, listener net.Listener) {
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_, _ = conn.Read(make([]byte, 1024))
				_, _ = io.WriteString(conn, "-ERR Protocol error\r\n")
			}()
		}
	}()
}

// withCertificate puts TLS before a real server, with a certificate for that host
// and time. authority is the file of who signed it.
func withCertificate(t *testing.T, host string, begin, end time.Time) (address, authority string) {
	t.Helper()
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority.example.com"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	rootKey, rootDER := signed(t, root, root, nil)
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "redis.example.com"},
		NotBefore: begin, NotAfter: end, IPAddresses: []net.IP{net.ParseIP(host)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	key, der := signed(t, leaf, root, rootKey)
	authority = filepath.Join(t.TempDir(), "authority.pem")
	require.NoError(t, os.WriteFile(authority, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: rootDER}), 0o600))

	server := realredis.Start(t)
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
	})
	require.NoError(t, err)
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer near.Close()
				far, err := net.Dial("tcp", server.Addr())
				if err != nil {
					return
				}
				defer far.Close()
				go func() {
					_, _ = io.Copy(far, near)
					far.Close()
				}()
				_, _ = io.Copy(near, far)
			}()
		}
	}()
	return listener.Addr().String(), authority
}

func signed(t *testing.T, certificate, parent *x509.Certificate, by *ecdsa.PrivateKey) (key *ecdsa.PrivateKey, der []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	if by == nil {
		by = key
	}
	der, err = x509.CreateCertificate(rand.Reader, certificate, parent, &key.PublicKey, by)
	require.NoError(t, err)
	return key, der
}
