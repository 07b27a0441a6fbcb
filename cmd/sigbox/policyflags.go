package main

import (
	"encoding/pem"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/verify"
	"github.com/sigbox/sigbox/verify/condition"
	"github.com/sigbox/sigbox/wire/policy"
	"github.com/sigbox/sigbox/wire/predicate"
)

// policyFlags say who must have signed, and what: a policy in a file, or flags that
// are a shorthand for one.
type policyFlags struct {
	file  string
	stdin io.Reader // for the file -
	print bool

	keys                     []string
	identity, identityRegexp string
	issuer, issuerRegexp     string
	github                   githubFlags
	extensions               []string
	types                    []string
	conditions               []string
}

// githubFlags are cosign's flags for extensions that GitHub's certificates have.
type githubFlags struct{ name, ref, repository, sha, trigger string }

const (
	identityFlag  = "certificate-identity"
	issuerFlag    = "certificate-oidc-issuer"
	extensionFlag = "certificate-extension"
	githubFlag    = "certificate-github-workflow-"
	typeFlag      = "type"
	conditionFlag = "condition"
)

// registerSigners adds the flags that say who must have signed.
func (f *policyFlags) registerSigners(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.StringVar(&f.identity, identityFlag, "", "who must have signed: the `NAME` in the certificate, such as an email address")
	fs.StringVar(&f.identityRegexp, identityFlag+"-regexp", "", "`REGEXP` that the whole name must match")
	fs.StringVar(&f.issuer, issuerFlag, "", "`URL` of the OpenID provider that must have vouched for the name")
	fs.StringVar(&f.issuerRegexp, issuerFlag+"-regexp", "", "`REGEXP` that the provider's whole URL must match")
	fs.StringArrayVar(&f.keys, "key", nil, "`FILE` with a public key that may have signed, in place of an identity (repeatable)")
	fs.StringVar(&f.file, "policy", "", "`FILE` with the policy, in YAML or JSON (- is standard input), in place of the flags that say who must have signed what")
	for _, name := range []string{identityFlag, identityFlag + "-regexp", issuerFlag, issuerFlag + "-regexp"} {
		_ = cmd.RegisterFlagCompletionFunc(name, cobra.NoFileCompletions)
	}
	_ = cmd.MarkFlagFilename("policy", "yaml", "yml", "json")
}

// registerDemands adds the flags that demand more of what was signed.
func (f *policyFlags) registerDemands(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.StringArrayVar(&f.extensions, extensionFlag, nil, "`NAME=VALUE` that the certificate must have, such as sourceRepositoryRef=refs/heads/main (repeatable)")
	for _, x := range f.github.all() {
		fs.StringVar(x.value, githubFlag+x.flag, "", "what the certificate's "+x.extension+" must be: `VALUE`")
		_ = cmd.RegisterFlagCompletionFunc(githubFlag+x.flag, cobra.NoFileCompletions)
	}
	fs.StringArrayVar(&f.types, typeFlag, nil, "predicate `TYPE` of attestations to accept: a URI, a name such as slsaprovenance1 or spdxjson, or any (repeatable)")
	fs.StringArrayVar(&f.conditions, conditionFlag, nil, "`EXPR` in CEL about the attestation that must be true, such as 'predicate.result == \"PASSED\"' (repeatable; with --type)")
	_ = cmd.RegisterFlagCompletionFunc(conditionFlag, cobra.NoFileCompletions)
	_ = cmd.RegisterFlagCompletionFunc(extensionFlag, completeExtension)
	_ = cmd.RegisterFlagCompletionFunc(typeFlag, completePredicateType)
}

// githubExtension is one of the githubFlags: its name, that of the extension, and
// where its value is.
type githubExtension struct {
	flag, extension string
	value           *string
}

func (g *githubFlags) all() []githubExtension {
	return []githubExtension{
		{"name", "githubWorkflowName", &g.name},
		{"ref", "githubWorkflowRef", &g.ref},
		{"repository", "githubWorkflowRepository", &g.repository},
		{"sha", "githubWorkflowSHA", &g.sha},
		{"trigger", "githubWorkflowTrigger", &g.trigger},
	}
}

// given names the flags that are a shorthand and were given.
func (f *policyFlags) given() []string {
	values := map[string]string{
		"key": strings.Join(f.keys, ""), identityFlag: f.identity, identityFlag + "-regexp": f.identityRegexp,
		issuerFlag: f.issuer, issuerFlag + "-regexp": f.issuerRegexp,
		extensionFlag: strings.Join(f.extensions, ""), typeFlag: strings.Join(f.types, ""), conditionFlag: strings.Join(f.conditions, ""),
	}
	for _, x := range f.github.all() {
		values[githubFlag+x.flag] = *x.value
	}
	maps.DeleteFunc(values, func(_, v string) bool { return v == "" })
	return slices.Sorted(maps.Keys(values))
}

// check finds what makes no sense in the flags, before anything is read.
func (f *policyFlags) check() error {
	given := f.given()
	if f.file != "" && len(given) > 0 {
		return &usageError{msg: "--policy takes the place of --" + given[0], hint: "write it into " + f.file + "; --print-policy shows what flags stand for"}
	}
	for _, name := range given {
		if len(f.keys) > 0 && strings.HasPrefix(name, "certificate-") {
			return &usageError{msg: "--key and --" + name + " exclude each other: a key has no identity", hint: "to accept either, write both into a file for --policy"}
		}
	}
	for _, p := range []struct{ exact, pattern, name string }{
		{f.identity, f.identityRegexp, identityFlag}, {f.issuer, f.issuerRegexp, issuerFlag},
	} {
		if p.exact != "" && p.pattern != "" {
			return usage("--%s and --%s-regexp exclude each other", p.name, p.name)
		}
		if _, err := regexp.Compile(p.pattern); err != nil {
			return usage("--%s-regexp: %v", p.name, err)
		}
	}
	if len(f.conditions) > 0 && len(f.types) == 0 {
		return &usageError{msg: "--condition is about an attestation: which one?", hint: "add --" + typeFlag + " TYPE, or --" + typeFlag + " " + anyType}
	}
	if _, err := f.wantedExtensions(); err != nil {
		return err
	}
	_, err := f.predicateTypes()
	return err
}

// namesSigner reports whether the flags say who must have signed.
func (f *policyFlags) namesSigner() bool { return len(f.missing()) == 0 }

// missing names the flags that would say so.
func (f *policyFlags) missing() []string {
	if f.file != "" || len(f.keys) > 0 {
		return nil
	}
	var names []string
	if f.identity+f.identityRegexp == "" {
		names = append(names, identityFlag)
	}
	if f.issuer+f.issuerRegexp == "" {
		names = append(names, issuerFlag)
	}
	return names
}

// policy is what the flags stand for. Whatever is wrong with it is wrong usage.
func (f *policyFlags) policy() (sigbox.Policy, error) {
	p, err := f.read()
	if err == nil {
		err = verify.CheckPolicy(p, condition.CEL{})
	}
	return p, configured(err)
}

func (f *policyFlags) read() (sigbox.Policy, error) {
	if f.file != "" {
		return f.readFile()
	}
	types, err := f.predicateTypes()
	if err != nil {
		return sigbox.Policy{}, err
	}
	p := sigbox.Policy{PredicateTypes: types, Conditions: f.conditions}
	for _, file := range f.keys {
		key, err := readPublicKey(file)
		if err != nil {
			return sigbox.Policy{}, err
		}
		p.Keys = append(p.Keys, key)
	}
	if len(p.Keys) > 0 {
		return p, nil
	}
	id := sigbox.IdentityMatch{Subject: f.identity, SubjectRegexp: f.identityRegexp, Issuer: f.issuer, IssuerRegexp: f.issuerRegexp}
	if id.Extensions, err = f.wantedExtensions(); err != nil {
		return sigbox.Policy{}, err
	}
	p.Identities = []sigbox.IdentityMatch{id}
	return p, nil
}

// readFile reads the policy from its file; - is standard input.
func (f *policyFlags) readFile() (sigbox.Policy, error) {
	read := func() ([]byte, error) { return readFile(f.file, policy.MaxSize) }
	if f.file == "-" {
		read = func() ([]byte, error) { return readAll(f.stdin, "standard input", policy.MaxSize) }
	}
	b, err := read()
	if err != nil {
		return sigbox.Policy{}, err
	}
	p, err := policy.Parse(b)
	if err == nil {
		err = policy.Locate(b, verify.CheckPolicy(p, condition.CEL{}))
	}
	if err != nil {
		return sigbox.Policy{}, sigbox.Errorf(sigbox.KindOf(err), "%s: %w", f.file, err)
	}
	return p, nil
}

func readPublicKey(file string) (sigbox.PublicKey, error) {
	b, err := readFile(file, maxTrustFile)
	if err != nil {
		return sigbox.PublicKey{}, err
	}
	key, err := verify.ParseKey(b)
	if err != nil {
		e := sigbox.Errorf(sigbox.KindOf(err), "%s: %w", file, err)
		if block, _ := pem.Decode(b); block != nil && strings.HasSuffix(block.Type, "PRIVATE KEY") {
			return sigbox.PublicKey{}, e.WithHint("that is the key to sign with, and secret: name the file with the public one, such as cosign.pub beside cosign.key")
		}
		return sigbox.PublicKey{}, e
	}
	return key, nil
}

// wantedExtensions are those that the certificate must have.
func (f *policyFlags) wantedExtensions() (sigbox.Extensions, error) {
	var x sigbox.Extensions
	want := func(flag, name, value string) error {
		field := extensionByName(&x, name)
		switch {
		case field == nil:
			return &usageError{msg: "--" + flag + ": there is no extension " + name, hint: "the names are those of docs/json.md, such as " + strings.Join(extensionNames()[:3], ", ")}
		case value == "":
			return usage("--%s: %s has no value", flag, name)
		case *field != "" && *field != value:
			return usage("--%s: %s cannot be both %s and %s", flag, name, *field, value)
		}
		*field = value
		return nil
	}
	for _, g := range f.github.all() {
		if *g.value == "" {
			continue
		}
		if err := want(githubFlag+g.flag, g.extension, *g.value); err != nil {
			return x, err
		}
	}
	for _, one := range f.extensions {
		name, value, ok := strings.Cut(one, "=")
		if !ok {
			return x, usage("--%s: expected NAME=VALUE, found %s", extensionFlag, one)
		}
		if err := want(extensionFlag, name, value); err != nil {
			return x, err
		}
	}
	return x, nil
}

// extensionByName gives the field of x by its name in JSON, nil for none.
func extensionByName(x *sigbox.Extensions, name string) *string {
	for arc := range sigbox.MaxExtensionArc + 1 {
		if n, value := x.Field(arc); value != nil && n == name {
			return value
		}
	}
	return nil
}

// extensionNames are all names, in the order of their numbers.
func extensionNames() []string {
	var names []string
	for arc := range sigbox.MaxExtensionArc + 1 {
		if name, value := new(sigbox.Extensions).Field(arc); value != nil {
			names = append(names, name)
		}
	}
	return names
}

// anyType is the short name for all types, and none.
const anyType = "any"

// predicateTypes are those of --type, short names written out.
func (f *policyFlags) predicateTypes() ([]string, error) {
	var types []string
	for _, name := range f.types {
		uri, err := acceptedType(name)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(types, uri) {
			types = append(types, uri)
		}
	}
	return types, nil
}

// acceptedType gives the URI that a value of --type stands for.
func acceptedType(name string) (string, error) {
	known, ok := predicate.ByName(name)
	switch {
	case ok:
		return known.URI, nil
	case name == anyType:
		return sigbox.AnyPredicateType, nil
	case !strings.Contains(name, ":"):
		return "", &usageError{msg: "--type " + name + " is no predicate type", hint: "give a URI, or one of " + anyType + ", " + strings.Join(predicate.Names(), ", ")}
	}
	return name, nil
}

func completePredicateType(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	all := []string{anyType + "\tattestations of any type, and signatures"}
	for _, name := range predicate.Names() {
		known, _ := predicate.ByName(name)
		all = append(all, name+"\t"+known.URI)
	}
	return all, cobra.ShellCompDirectiveNoFileComp
}

func completeExtension(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	names := extensionNames()
	for i := range names {
		names[i] += "="
	}
	return names, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}

// printPolicy prints a policy in place of verifying by it.
func (e *env) printPolicy(p sigbox.Policy, asJSON bool) error {
	write := policy.Append
	if asJSON {
		write = policy.AppendJSON
	}
	b, err := write(nil, p)
	if err != nil {
		return err
	}
	_, err = e.stdout.Write(b)
	return err
}
