package policy_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"slices"
	"strings"
	"testing"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/hostile"
	"github.com/sigbox/sigbox/wire/policy"
)

func hostilePolicies(tb testing.TB) []hostile.Input {
	doc := `{"identities":[{"subject":"ada@example.com","issuerRegExp":"https://id\\.example"}],"predicateTypes":["p"],"conditions":["a"],"digests":["sha1:00"]}`
	at := func(name, value string) []hostile.Input {
		before, after, ok := strings.Cut(doc, value)
		if !ok {
			panic(value)
		}
		var inputs []hostile.Input
		for _, in := range hostile.Member(name, before+"@"+after) {
			inputs = append(inputs, in, shortened(in, policy.MaxSize))
		}
		return inputs
	}
	inputs := slices.Concat(at("subject", `"ada@example.com"`), at("expression", `"https://id\\.example"`), at("digests", `["sha1:00"]`), at("conditions", `["a"]`), yamls(tb))
	for _, in := range hostile.JSON() {
		inputs = append(inputs, in, shortened(in, policy.MaxSize))
	}
	return inputs
}

// shortened is an input cut to a size, in bytes.
func shortened(in hostile.Input, size int) hostile.Input {
	return hostile.Input{Name: in.Name + ", cut", Make: func() []byte { return in.Make()[:size] }}
}

// yamls are as long as policies may be.
func yamls(tb testing.TB) []hostile.Input {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		tb.Fatal(err)
	}
	pem, err := sigbox.SubjectPublicKeyInfo(spki).MarshalText()
	if err != nil {
		tb.Fatal(err)
	}
	one := "- publicKey: |\n    " + strings.ReplaceAll(string(pem), "\n", "\n    ") + "\n"
	fill := func(name, head, unit, tail string) hostile.Input {
		return hostile.FillTo("YAML: "+name, policy.MaxSize, head, unit, tail)
	}
	return []hostile.Input{
		fill("aliases", "a: &a [x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\nd: [", "*c,", "]"),
		fill("anchors", "a:\n", "- &a# x\n", ""),
		fill("an alias to itself", "a: &a [", "*a,", "]"),
		fill("merges", "a: &a {b: c}\nd:\n", "- <<: *a\n", ""),
		fill("flow lists", "", "[", ""),
		fill("flow objects", "", "{a: ", ""),
		fill("flow objects without colons", "", "{", ""),
		fill("flow keys", "", "[a: ", ""),
		fill("block lists", "", "- ", ""),
		fill("block keys", "", "? ", ""),
		fill("elements", "a:\n", "- a\n", ""),
		fill("members", "", "a#: b\n", ""),
		fill("the same member", "", "a: b\n", ""),
		fill("documents", "", "---\na: b\n", ""),
		fill("document ends", "", "...\n", ""),
		fill("comments", "", "#\n", "a: b"),
		fill("comments behind", "identities:\n", "- # c\n", ""),
		fill("directives", "", "%TAG !a! tag:a,2000:\n", ""),
		fill("tags", "", "!a ", "b"),
		fill("a long tag", "!", "a", " b"),
		fill("an open quote", `a: "`, `\n`, ""),
		fill("a long quote", "a: '", "''", "'"),
		fill("a folded text", "a: >\n", " b\n\n", ""),
		fill("a wide indent", "a:\n", " ", "b"),
		fill("tabs", "a:\n", "\t", "b"),
		fill("binary", "a: !!binary ", "AAAA", ""),
		fill("numbers", "a: ", "1_", ""),
		fill("times", "a:\n", "- 2001-12-14t21:59:43.10-05:00\n", ""),
		fill("colons", "", ":", ""),
		fill("question marks", "", "?\n", ""),
		fill("UTF-16", "\xff\xfe", "a\x00", ""),
		fill("identities", "identities:\n", "- {subject: a@b, issuer: c}\n", ""),
		fill("identities that differ", "identities:\n", "- {subject: a#@b, issuer: c}\n", ""),
		fill("keys", "keys:\n", one, ""),
		fill("digests", "digests:\n", "- sha1:#\n", ""),
	}
}

func parse(b []byte) error {
	_, err := policy.Parse(b)
	return err
}

func TestLimits(t *testing.T) { hostile.Test(t, parse, hostilePolicies(t)...) }

func BenchmarkHostile(b *testing.B) { hostile.Benchmark(b, parse, hostilePolicies(b)...) }
