package health

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
)

// judgeTLS gives the cure of what TLS has against a server, "" for any other
// error.
func judgeTLS(err error) (cure string) {
	var authority x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	var certificate *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	switch {
	case errors.As(err, &authority):
		return "the server's certificate is signed by an unknown authority: install the authority's certificate on this computer (SSL_CERT_FILE)"
	case errors.As(err, &host):
		return "the server's certificate is for another host: set REDIS_URL to a host that it names"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "the server's certificate has expired or is not valid yet: renew it, and check the clocks"
	case errors.As(err, &invalid), errors.As(err, &certificate):
		return "the server's certificate is not valid: replace it"
	case errors.As(err, &record):
		return "the server does not speak TLS at this port: set REDIS_URL to redis://, or to the port of its TLS"
	}
	return ""
}
