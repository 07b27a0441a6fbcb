package verify

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/sigbox/sigbox"
)

// TestPolicyIs: what was compiled of one policy is never taken for another's,
// whichever field differs, and not touched when the caller changes theirs.
func TestPolicyIs(t *testing.T) {
	t.Parallel()
	p := examplePolicy(t)
	compiled, err := compile(p, saying{})
	if err != nil {
		t.Fatal(err)
	}
	if o := p.Clone(); !compiled.is(&o) {
		t.Fatal("a policy is not what was compiled of it")
	}
	for _, n := range []int{0, -1, -2, 1} {
		o := p.Clone()
		if o.Threshold = n; compiled.is(&o) {
			t.Errorf("a threshold of %d is taken for 2", n)
		}
	}
	single, err := compile(&sigbox.Policy{Identities: p.Identities[:1]}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for n, want := range map[int]bool{0: true, 1: true, -1: false, -7: false} {
		if got := single.is(&sigbox.Policy{Identities: p.Identities[:1], Threshold: n}); got != want {
			t.Errorf("a threshold of %d for one of 0: %v", n, got)
		}
	}
	places := 0
	eachPlace(reflect.ValueOf(p).Elem(), "policy", func(place string) {
		places++
		if compiled.is(p) {
			t.Errorf("%s: a policy that differs there is taken for the same", place)
		}
	})
	if !compiled.is(p) {
		t.Error("a change of the caller's slices reached what was compiled")
	}
	if places < 40 {
		t.Errorf("%d places were changed: expected all fields", places)
	}
}

// TestExtensionsAreTold: the same value of another extension is another policy.
func TestExtensionsAreTold(t *testing.T) {
	t.Parallel()
	with := func(x sigbox.Extensions) *sigbox.Policy {
		return &sigbox.Policy{Identities: []sigbox.IdentityMatch{{Subject: "ada@example.com", Issuer: "https://issuer.example", Extensions: x}}}
	}
	compiled, err := compile(with(sigbox.Extensions{SourceRepositoryURI: "x"}), nil)
	if err != nil {
		t.Fatal(err)
	}
	if compiled.is(with(sigbox.Extensions{SourceRepositoryOwnerURI: "x"})) {
		t.Error("a repository's owner is taken for the repository")
	}
}

func examplePolicy(t *testing.T) *sigbox.Policy {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	day := sigbox.TimeRange{Start: time.Unix(1e9, 0), End: time.Unix(2e9, 0)}
	return &sigbox.Policy{
		Identities: []sigbox.IdentityMatch{
			{Subject: "ada@example.com", Issuer: "https://issuer.example"},
			{SubjectRegexp: ".*@example.com", IssuerRegexp: "https://.*", ExtensionsRegexp: sigbox.Extensions{SourceRepositoryURI: "https://a/.*"}},
			{Subject: "grace@example.com", IssuerRegexp: "https://.*", Extensions: sigbox.Extensions{SourceRepositoryURI: "https://a/b"}},
		},
		Keys: []sigbox.PublicKey{{Key: spki, Details: sigbox.ECDSAP256SHA256, ValidFor: day}}, Threshold: 2,
		PredicateTypes: []string{"https://slsa.dev/provenance/v1"},
		Conditions:     []string{"true", "predicate.a == 7"},
		Digests:        []sigbox.NamedDigest{{Algorithm: "sha256", Value: fmt.Sprintf("%064d", 1)}},
		Signed:         day, Demands: sigbox.Demands{LogEntries: 1, Times: 1},
	}
}

// eachPlace changes each value that v is made of, calls then, and changes it back.
func eachPlace(v reflect.Value, place string, then func(place string)) {
	change := func(to reflect.Value) {
		old := reflect.New(v.Type()).Elem()
		old.Set(v)
		v.Set(to)
		then(place)
		v.Set(old)
	}
	if at, ok := v.Interface().(time.Time); ok {
		change(reflect.ValueOf(at.Add(time.Second)))
		return
	}
	switch v.Kind() {
	case reflect.String:
		change(reflect.ValueOf(v.String() + "x").Convert(v.Type()))
	case reflect.Int, reflect.Int32, reflect.Int64:
		change(reflect.ValueOf(v.Int() + 1).Convert(v.Type()))
	case reflect.Uint8:
		change(reflect.ValueOf(v.Uint() ^ 1).Convert(v.Type()))
	case reflect.Struct:
		for i := range v.NumField() {
			eachPlace(v.Field(i), place+"."+v.Type().Field(i).Name, then)
		}
	case reflect.Slice:
		for i := range v.Len() {
			eachPlace(v.Index(i), fmt.Sprintf("%s[%d]", place, i), then)
		}
		if n := v.Len(); n > 0 {
			change(reflect.AppendSlice(reflect.MakeSlice(v.Type(), 0, n), v.Slice(0, n-1)))
		}
		change(reflect.Append(v, reflect.Zero(v.Type().Elem())))
	default:
		panic(place + " is of a kind that nobody thought of: " + v.Kind().String())
	}
}

// TestRefusedOnce: what another package said is said once, with what it was said of.
func TestRefusedOnce(t *testing.T) {
	t.Parallel()
	inner := sigbox.Errorf(sigbox.Invalid, "a proof").WithHint("ask again")
	for want, err := range map[string]error{
		StepInclusion.String() + ": no proof":                        errors.New("no proof"),
		StepInclusion.String() + ": a proof (ask again)":             inner,
		StepInclusion.String() + ": of entry 3: a proof (ask again)": fmt.Errorf("of entry 3: %w", inner),
		StepInclusion.String() + ": of entry 3: no proof":            sigbox.Errorf(sigbox.Invalid, "of entry 3: %w", errors.New("no proof")),
	} {
		got := refuseFor(StepInclusion, err)
		if got.Error() != want || sigbox.KindOf(got) != sigbox.NotVerified {
			t.Errorf("found %q, expected %q", got, want)
		}
	}
}
