package main

import (
	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/cert"
)

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
	x := id.Extensions
	for arc, name := range extensionNames {
		if name == "" {
			continue
		}
		if v := cert.Field(&x, arc); v != nil && *v != "" {
			if j.Extensions == nil {
				j.Extensions = make(map[string]string)
			}
			j.Extensions[name] = *v
		}
	}
	return j
}

// extensionNames names Fulcio's extensions by their last arc below
// 1.3.6.1.4.1.57264.1.
//
// Source: https://github.com/sigstore/fulcio/blob/main/docs/oid-info.md
var extensionNames = [...]string{
	2:  "githubWorkflowTrigger",
	3:  "githubWorkflowSHA",
	4:  "githubWorkflowName",
	5:  "githubWorkflowRepository",
	6:  "githubWorkflowRef",
	9:  "buildSignerURI",
	10: "buildSignerDigest",
	11: "runnerEnvironment",
	12: "sourceRepositoryURI",
	13: "sourceRepositoryDigest",
	14: "sourceRepositoryRef",
	15: "sourceRepositoryIdentifier",
	16: "sourceRepositoryOwnerURI",
	17: "sourceRepositoryOwnerIdentifier",
	18: "buildConfigURI",
	19: "buildConfigDigest",
	20: "buildTrigger",
	21: "runInvocationURI",
	22: "sourceRepositoryVisibilityAtSigning",
	23: "deploymentEnvironment",
	24: "tokenSubject",
}
