package main

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/sigbox/sigbox"
)

// signers says of each line of the policy whether it was met: each is asked for by
// itself.
func (j *judge) signers(ctx context.Context, a artifact, bundles []*sigbox.Bundle) []policySignerJSON {
	all := make([]policySignerJSON, 0, len(j.policy.Identities)+len(j.policy.Keys))
	ask := func(name string, ids []sigbox.IdentityMatch, keys []sigbox.PublicKey) {
		p := j.policy
		p.Threshold, p.Identities, p.Keys = 0, ids, keys
		_, err := j.verifyBy(ctx, j.trust.verifier.Load(), a, bundles, p)
		all = append(all, policySignerJSON{name, err == nil})
	}
	for _, id := range j.policy.Identities {
		ask(describeMatch(id), []sigbox.IdentityMatch{id}, nil)
	}
	for _, k := range j.policy.Keys {
		ask(describeKey(k), nil, []sigbox.PublicKey{k})
	}
	return all
}

// counted is signers where all who signed were counted: of each line of the policy,
// identities first, whether it was met.
func (j *judge) counted(signed []bool) []policySignerJSON {
	all := make([]policySignerJSON, 0, len(signed))
	for _, id := range j.policy.Identities {
		all = append(all, policySignerJSON{describeMatch(id), signed[len(all)]})
	}
	for _, k := range j.policy.Keys {
		all = append(all, policySignerJSON{describeKey(k), signed[len(all)]})
	}
	return all
}

// describeKey names a key of a policy.
func describeKey(k sigbox.PublicKey) string { return "the key " + sigbox.SHA256.Sum(k.Key).String() }

// describeMatch names whom an identity of a policy stands for.
func describeMatch(m sigbox.IdentityMatch) string {
	return newColumn("", m.Subject, m.SubjectRegexp, "").expected + ", vouched for by " + newColumn("", m.Issuer, m.IssuerRegexp, "").expected
}

// printSigners shows who signed and who did not.
func printSigners(out io.Writer, signers []policySignerJSON) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, s := range signers {
		word := "lacking"
		if s.Signed {
			word = "signed"
		}
		fmt.Fprintf(w, "  %s\t%s\n", word, printable(s.Signer))
	}
	_ = w.Flush() // like what is printed around it
}
