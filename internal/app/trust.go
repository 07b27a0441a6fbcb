package app

import (
	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/handout"
	"github.com/sigbox/sigbox/wire/trust"
)

// targets are the files that the TUF repository publishes.
func (s *services) targets() (map[string][]byte, error) {
	trusted := s.trustedRoot()
	root, err := trust.AppendRoot(nil, trusted)
	if err != nil {
		return nil, err
	}
	ecdsa, err := trust.AppendRoot(nil, trust.OnlyECDSA(trusted))
	if err != nil {
		return nil, err
	}
	config, err := trust.AppendSigningConfig(nil, s.signingConfig())
	if err != nil {
		return nil, err
	}
	return map[string][]byte{
		handout.TrustedRootTarget: root, handout.ECDSATrustedRootTarget: ecdsa, handout.SigningConfigTarget: config,
	}, nil
}

// trustedRoot is what verifiers trust. It does not change with the public URL:
// the logs go by hostnames of their own.
func (s *services) trustedRoot() *sigbox.TrustedRoot {
	logs := []sigbox.TransparencyLog{s.rekor.TransparencyLog()}
	if s.rekorV1 != nil {
		logs = append(logs, s.rekorV1.TransparencyLog())
	}
	return &sigbox.TrustedRoot{
		Logs:                   logs,
		CertificateAuthorities: s.ca.CertificateAuthorities(),
		CTLogs:                 []sigbox.TransparencyLog{s.ctLog.TransparencyLog()},
		TimestampAuthorities:   s.tsa.CertificateAuthorities(),
	}
}

// signingConfig tells signers where the services are now. Clients know the CA,
// the provider and the timestamp authority as version 1, whatever their paths
// say, and sigstore-js takes no selector but ANY. Of the two logs a client takes
// the first of the highest version that it knows.
func (s *services) signingConfig() *sigbox.SigningConfig {
	at := func(url string, version int) []sigbox.Service {
		return []sigbox.Service{{URL: url, MajorAPIVersion: version, ValidFor: sigbox.TimeRange{Start: s.app.state.get().ValidFrom}, Operator: operator}}
	}
	url := s.app.state.get().URL
	logs := at(url, 2)
	if s.rekorV1 != nil && s.app.settings.rekorV1() {
		v1 := at(url, 1)
		v1[0].ValidFor.Start = s.app.state.get().RekorV1
		logs = append(logs, v1...)
	}
	return &sigbox.SigningConfig{
		CAs:         at(url, 1),
		OIDC:        at(issuerURL(url), 1),
		Logs:        logs,
		TSAs:        at(s.timestampURL(), 1),
		LogSelector: sigbox.Selector{Mode: "ANY"},
		TSASelector: sigbox.Selector{Mode: "ANY"},
	}
}

// operator names who runs the services of a signing configuration. They are all
// one's own.
const operator = "sigbox"

// timestampURL is the timestamp authority's full path, as clients want it.
func (s *services) timestampURL() string { return s.app.state.get().URL + "/api/v1/timestamp" }
