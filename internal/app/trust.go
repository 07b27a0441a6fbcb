package app

import (
	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/atomicfile"
	"github.com/sigbox/sigbox/internal/handout"
	"github.com/sigbox/sigbox/wire/trust"
)

// publish has clients see what there is now: what this host has, for its other hosts,
// and where it has the TUF repository what all of them have. What was gathered later is
// published later: settings and keys may change at one time.
func (s *services) publish() error {
	s.publishing.Lock()
	defer s.publishing.Unlock()
	if err := s.writePart(); err != nil || s.tuf == nil {
		return err
	}
	targets, err := s.targets()
	if err != nil {
		return err
	}
	if err := s.tuf.SetTargets(targets); err != nil {
		return err
	}
	return s.writeRoot()
}

// writeRoot writes the TUF root to hand out.
func (s *services) writeRoot() error {
	if err := atomicfile.Replace(s.app.RootFile(), s.tuf.Root(), 0o644); err != nil {
		return diskError(s.app.cfg.Data, err)
	}
	return nil
}

// approveTrust is what the TUF repository asks before the trust root changes.
func (a *App) approveTrust() func(name string, published, next []byte) error {
	if a.cfg.Accept.Trust {
		return nil
	}
	return keepTrust
}

// own is what this host has of what clients trust and use.
func (s *services) own() *trust.ClientTrustConfig {
	return &trust.ClientTrustConfig{Root: s.trustedRoot(), Signing: s.signingConfig()}
}

// targets are the files that the TUF repository publishes: what all hosts have.
func (s *services) targets() (map[string][]byte, error) {
	all := s.own()
	if err := s.others.Load().AddTo(all); err != nil {
		return nil, err
	}
	root, err := trust.AppendRoot(nil, all.Root)
	if err != nil {
		return nil, err
	}
	ecdsa, err := trust.AppendRoot(nil, trust.OnlyECDSA(all.Root))
	if err != nil {
		return nil, err
	}
	config, err := trust.AppendSigningConfig(nil, all.Signing)
	if err != nil {
		return nil, err
	}
	return map[string][]byte{
		handout.TrustedRootTarget: root, handout.ECDSATrustedRootTarget: ecdsa, handout.SigningConfigTarget: config,
	}, nil
}

// trustedRoot is what verifiers trust of this host. It does not change with the public
// URL: the logs go by hostnames of their own.
func (s *services) trustedRoot() *sigbox.TrustedRoot {
	root := new(sigbox.TrustedRoot)
	if s.rekor != nil {
		root.Logs = append(root.Logs, s.trustedLogs(rekorKey)...)
	}
	if s.rekorV1 != nil {
		root.Logs = append(root.Logs, s.trustedLogs(rekorV1Key)...)
	}
	if s.ca != nil {
		root.CertificateAuthorities = s.ca.CertificateAuthorities()
	}
	if s.ctLog != nil {
		root.CTLogs = append(root.CTLogs, s.trustedLogs(ctLogKey)...)
	}
	if s.tsa != nil {
		root.TimestampAuthorities = s.tsa.CertificateAuthorities()
	}
	return root
}

// signingConfig tells signers where the services of this host are now. Clients know the CA,
// the provider and the timestamp authority as version 1, whatever their paths
// say, and sigstore-js takes no selector but ANY. Of the two logs a client takes
// the first of the highest version that it knows.
func (s *services) signingConfig() *sigbox.SigningConfig {
	at := func(here bool, url string, version int) []sigbox.Service {
		if !here {
			return nil
		}
		return []sigbox.Service{{URL: url, MajorAPIVersion: version, ValidFor: sigbox.TimeRange{Start: s.app.state.get().ValidFrom}, Operator: operator}}
	}
	logs := at(s.rekor != nil, s.url(RoleLog), 2)
	for _, v1 := range at(s.rekorV1 != nil && s.app.settings.rekorV1(), s.url(RoleLogV1), 1) {
		v1.ValidFor.Start = s.app.state.get().RekorV1
		logs = append(logs, v1)
	}
	return &sigbox.SigningConfig{
		CAs:         at(s.ca != nil, s.url(RoleCA), 1),
		OIDC:        at(s.provider != nil, issuerURL(s.url(RoleOIDC)), 1),
		Logs:        logs,
		TSAs:        at(s.tsa != nil, s.timestampURL(), 1),
		LogSelector: sigbox.Selector{Mode: "ANY"},
		TSASelector: sigbox.Selector{Mode: "ANY"},
	}
}

// operator names who runs the services of a signing configuration. They are all
// one's own.
const operator = "sigbox"

// timestampURL is the timestamp authority's full path, as clients want it.
func (s *services) timestampURL() string { return s.url(RoleTSA) + "/api/v1/timestamp" }
