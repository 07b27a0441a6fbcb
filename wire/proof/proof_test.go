package proof_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/hostile"
	"github.com/sigbox/sigbox/wire/proof"
)

// good is the example of the specification, with shorter signatures.
const good = `c2sp.org/tlog-proof@v1
extra YWdl
index 73894
gSKyXoYZUgZ6jduWYrkDOARinOMGJveXjgMkBTcdPlQ=
B95lDa8R83lS8n0eG+o0buTxRKQTYFi//1U8anccXmA=

example.com/fancylog
109482
sFodV/vSp5O8n9a8QpW6PRY97tfOSW5bsc2Xl/EQi08=

— example.com/fancylog hI2DJwAA
`

func TestParse(t *testing.T) {
	p, err := proof.Parse(good)
	if err != nil {
		t.Fatal(err)
	}
	if string(p.Extra) != "age" || p.Index != 73894 || len(p.Hashes) != 2 || !strings.HasPrefix(p.Checkpoint, "example.com/fancylog\n109482\n") {
		t.Errorf("read %+v", p)
	}
	if diff := cmp.Diff(good, string(p.Append(nil))); diff != "" {
		t.Error(diff)
	}
	// A tree of one leaf needs no hashes.
	const lone = "c2sp.org/tlog-proof@v1\nindex 0\n\no\n1\n"
	if p, err := proof.Parse(lone); err != nil || string(p.Append(nil)) != lone {
		t.Errorf("read %+v, %v", p, err)
	}
}

func TestRefused(t *testing.T) {
	for name, edit := range map[string][2]string{
		"version":           {"proof@v1", "proof@v2"},
		"no index":          {"index 73894\n", ""},
		"leading zero":      {"index 7", "index 07"},
		"plus":              {"index 7", "index +7"},
		"negative":          {"index 7", "index -7"},
		"index too large":   {"index 73894", "index 9223372036854775808"},
		"carriage return":   {"73894\n", "73894\r\n"},
		"empty extra":       {"extra YWdl", "extra "},
		"loose base64":      {"extra YWdl", "extra YWdlZh=="},
		"two extras":        {"index", "extra YWdl\nindex"},
		"short hash":        {"gSKy", ""},
		"long hash":         {"gSKy", "gSKygSKy"},
		"set bits in hash":  {"dPlQ=\n", "dPlR=\n"},
		"no word for index": {"index 73894", "73894"},
		"return in a hash":  {"dPlQ=\n", "dPlQ=\r\n"},
		"trailing text":     {"XmA=", "XmA= "},
		"no checkpoint":     {good[strings.Index(good, "\nexample"):], "\n"},
		"no empty line":     {"\n\n", "\n"},
		"too many hashes":   {"B95l", strings.Repeat("B95lDa8R83lS8n0eG+o0buTxRKQTYFi//1U8anccXmA=\n", 62) + "B95l"},
		"extra beyond size": {"extra YWdl", "extra " + strings.Repeat("YWdl", proof.MaxExtra/3+1)},
	} {
		text := strings.Replace(good, edit[0], edit[1], 1)
		if name == "no empty line" {
			text = strings.ReplaceAll(good, edit[0], edit[1])
		}
		if text == good {
			t.Fatalf("%s: nothing was changed", name)
		}
		_, err := proof.Parse(text)
		if kind := sigbox.KindOf(err); err == nil || kind != sigbox.Invalid && kind != sigbox.TooLarge {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A proof is bounded before it is looked at.
func TestTooLarge(t *testing.T) {
	if _, err := proof.Parse(strings.Repeat("x", proof.MaxSize+1)); sigbox.KindOf(err) != sigbox.TooLarge {
		t.Errorf("found %v, expected it to be too large", err)
	}
}

func TestLimits(t *testing.T) {
	read := func(b []byte) error { _, err := proof.Parse(string(b)); return err }
	var inputs []hostile.Input
	for name, size := range map[string]int{"16 MB": hostile.Size, "as much as is read": proof.MaxSize} {
		fill := func(what, head, unit, tail string) {
			inputs = append(inputs, hostile.FillTo(what+", "+name, size, head, unit, tail))
		}
		fill("line feeds", "", "\n", "")
		fill("hashes", "c2sp.org/tlog-proof@v1\nindex 0\n", "B95lDa8R83lS8n0eG+o0buTxRKQTYFi//1U8anccXmA=\n", "\no\n")
		fill("extra", "c2sp.org/tlog-proof@v1\nextra ", "AAAA", "\nindex 0\n\no\n")
		fill("checkpoint", "c2sp.org/tlog-proof@v1\nindex 0\n\n", "o", "\n")
	}
	hostile.Test(t, read, inputs...)
}

func FuzzParse(f *testing.F) {
	f.Add(good)
	f.Add("c2sp.org/tlog-proof@v1\nindex 0\n\no\n1\n")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := proof.Parse(text)
		if err != nil {
			return
		}
		if diff := cmp.Diff(text, string(p.Append(nil))); diff != "" {
			t.Error(diff)
		}
	})
}
