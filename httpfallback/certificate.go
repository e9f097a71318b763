package httpfallback

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"strings"
)

// unconnected is the outcome when there was no connection, TLS included. It
// names what TLS has against the receiver, and quotes nothing of a certificate.
func unconnected(err error) outcome {
	o := outcome{verdict: again, reason: notConnected}
	var authority x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	var certificate *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	switch {
	case errors.As(err, &authority):
		o.reason = "the receiver's certificate is signed by an unknown authority; install the authority's certificate on this computer (SSL_CERT_FILE)"
	case errors.As(err, &host):
		o.reason = "the receiver's certificate is for another host; set FOGIS_FALLBACK_URL to the host that it names"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		o.reason = "the receiver's certificate has expired or is not valid yet; renew it, and check the clocks"
	case errors.As(err, &invalid), errors.As(err, &certificate):
		o.reason = "the receiver's certificate is not valid; replace it"
	case errors.As(err, &record), strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		o.reason = "the receiver does not speak TLS at this port; set FOGIS_FALLBACK_URL to http://, or to the port of its TLS"
	default:
		o.cause = withoutContents(err)
		return o
	}
	return o
}
