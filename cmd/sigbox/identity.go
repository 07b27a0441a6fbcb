package main

import "github.com/sigbox/sigbox"

// identityJSON is an identity as every verb prints it.
type identityJSON struct {
	Subject string `json:"subject"`
	Kind    string `json:"subjectKind"`
	Issuer  string `json:"issuer"`
	// Extensions are what a CI provider says of the build, by Fulcio's names.
	Extensions map[string]string `json:"extensions,omitempty"`
}

func newIdentityJSON(id sigbox.Identity) identityJSON {
	j := identityJSON{Subject: id.Subject, Kind: id.Kind.String(), Issuer: id.Issuer}
	for arc := range sigbox.MaxExtensionArc + 1 {
		name, value := id.Extensions.Field(arc)
		if value == nil || *value == "" {
			continue
		}
		if j.Extensions == nil {
			j.Extensions = make(map[string]string)
		}
		j.Extensions[name] = *value
	}
	return j
}
