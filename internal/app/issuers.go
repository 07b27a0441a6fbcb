package app

import "github.com/sigbox/sigbox"

// Issuer is an outside OpenID issuer whose tokens the CA takes.
type Issuer struct {
	// URL is the issuer, exactly as in the tokens' iss claim.
	URL string `yaml:"url"`
	// Type says how a token becomes an identity: email, uri, spiffe, username,
	// kubernetes or ci-provider.
	Type string `yaml:"type"`
	// Audience is what tokens must be for, "sigstore" if "".
	Audience string `yaml:"audience"`
}

// check refuses what cannot be meant.
func (i *Issuer) check() error {
	if i.URL == "" || i.Type == "" {
		return sigbox.Errorf(sigbox.Invalid, "an issuer needs url and type")
	}
	return nil
}
