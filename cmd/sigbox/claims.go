package main

import (
	"maps"
	"slices"
	"strings"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/cert"
)

// missingIdentity makes the error for a verification that does not say who must
// have signed. It shows what the bundle claims, and the command to run if that
// is right, which only the person can know.
func missingIdentity(f verifyFlags, args []string, a artifact) error {
	missing := f.policy.missing()
	e := &usageError{
		msg:  "it is not said who must have signed: --" + strings.Join(missing, " and --") + " (or --key) " + isOrAre(len(missing)) + " missing",
		hint: "any signature by anybody would do without them",
	}
	sources := f.evidence.of(a)
	if len(sources) == 0 || sources[0].bundle == "-" {
		return e
	}
	id, err := claimedIdentity(sources[0])
	m := &mismatch{found: id}
	if err != nil || !m.fitForCommand(args) {
		return e // nothing that is fit to be shown in a command
	}
	claimed := map[string][]string{identityFlag: {id.Subject}, issuerFlag: {id.Issuer}}
	maps.DeleteFunc(claimed, func(flag string, _ []string) bool { return !slices.Contains(missing, flag) })
	e.hint = sources[0].String() + " claims " + id.Subject + ", vouched for by " + id.Issuer + ". Anybody can write that into a bundle: " +
		onlyIf + ", run: " + f.command(args, claimed)
	return e
}

func isOrAre(n int) string {
	if n == 1 {
		return "is"
	}
	return "are"
}

// claimedIdentity reads the identity in the first bundle, unverified.
func claimedIdentity(from evidence) (sigbox.Identity, error) {
	bundles, err := from.read()
	if len(bundles) == 0 {
		return sigbox.Identity{}, err
	}
	if len(bundles[0].Certificates) == 0 {
		return sigbox.Identity{}, sigbox.Errorf(sigbox.NotFound, "no certificate")
	}
	leaf, err := sigbox.ParseCertificate(bundles[0].Certificates[0])
	if err != nil {
		return sigbox.Identity{}, err
	}
	return cert.IdentityOf(leaf)
}
