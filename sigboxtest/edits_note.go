package sigboxtest

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
)

// noteEdits changes a signed note (C2SP signed-note) by its lines.
func noteEdits(text string, seed uint64) edits {
	return func(yield func(edit, []byte) bool) {
		lines := strings.SplitAfter(strings.TrimSuffix(text, "\n"), "\n")
		lines[len(lines)-1] += "\n"
		all := slices.Concat(lineEdits(lines), wholeNoteEdits(text))
		for i, l := range lines {
			if strings.HasPrefix(l, "— ") {
				all = append(all, signatureLineEdits(lines, i, seed)...)
			}
		}
		for _, v := range all {
			if v.value != text && !yield(edit{"", v.what}, []byte(v.value)) {
				return
			}
		}
	}
}

// with joins lines with one of them replaced.
func with(lines []string, i int, by ...string) string {
	return strings.Join(slices.Replace(slices.Clone(lines), i, i+1, by...), "")
}

func lineEdits(lines []string) (out []named[string]) {
	for i, l := range lines {
		bare := strings.TrimSuffix(l, "\n")
		what := func(s string) string { return fmt.Sprintf("line %d %s", i+1, s) }
		out = append(out,
			named[string]{what("removed"), with(lines, i)}, named[string]{what("repeated"), with(lines, i, l, l)},
			named[string]{what("with CRLF"), with(lines, i, bare+"\r\n")}, named[string]{what("with a space behind"), with(lines, i, bare+" \n")},
			named[string]{what("with a space before"), with(lines, i, " "+l)}, named[string]{what("emptied"), with(lines, i, "\n")},
			named[string]{what("with a zero before"), with(lines, i, "0"+l)}, named[string]{what("with a plus before"), with(lines, i, "+"+l)},
			named[string]{what("cut by 1"), with(lines, i, bare[:max(0, len(bare)-1)]+"\n")}, named[string]{what("with a NUL"), with(lines, i, bare+"\x00\n")})
		if i+1 < len(lines) {
			swapped := slices.Clone(lines)
			swapped[i], swapped[i+1] = swapped[i+1], swapped[i]
			out = append(out, named[string]{what("changed places with the next"), strings.Join(swapped, "")})
		}
	}
	return out
}

func wholeNoteEdits(text string) []named[string] {
	body, signatures, _ := strings.Cut(text, "\n\n")
	const stranger = "— stranger.example AAAAAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n"
	return []named[string]{
		{"with CRLF", strings.ReplaceAll(text, "\n", "\r\n")}, {"without its last line end", strings.TrimSuffix(text, "\n")}, {"with a line end more", text + "\n"},
		{"with an empty line before the signatures", body + "\n\n\n" + signatures}, {"with a line of extension", body + "\nextension\n\n" + signatures},
		{"with a stranger's signature before", body + "\n\n" + stranger + signatures}, {"with a stranger's signature behind", text + stranger},
		{"with 100 strangers' signatures behind", text + strings.Repeat(stranger, 100)}, {"with a line behind that is no signature", text + "no signature\n"},
		{"with a signature that is no base64 behind", text + "— stranger.example !\n"}, {"with a signature of 3 bytes behind", text + "— stranger.example AAAA\n"},
		{"with a byte order mark", "\ufeff" + text}, {"with another note behind", text + "\n" + text},
	}
}

// signatureLineEdits changes a line "— name base64(key hash, signature)".
func signatureLineEdits(lines []string, i int, seed uint64) (out []named[string]) {
	fields := strings.Fields(lines[i])
	if len(fields) != 3 {
		return nil
	}
	name, text := fields[1], fields[2]
	sig, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(sig) < 5 {
		return nil
	}
	add := func(what, line string) {
		out = append(out, named[string]{fmt.Sprintf("line %d %s", i+1, what), with(lines, i, line)})
	}
	add("with a name of another", fmt.Sprintf("— other.example %s\n", text))
	add("with a name in upper case", fmt.Sprintf("— %s %s\n", strings.ToUpper(name), text))
	add("with a hyphen for the dash", fmt.Sprintf("- %s %s\n", name, text))
	add("with two spaces", fmt.Sprintf("— %s  %s\n", name, text))
	add("without padding", fmt.Sprintf("— %s %s\n", name, strings.TrimRight(text, "=")))
	add("in the URL alphabet", fmt.Sprintf("— %s %s\n", name, strings.NewReplacer("+", "-", "/", "_").Replace(text)))
	for at, b := range byteEdits(sig, randomFor(seed, name)) {
		add("signature: "+at.change, fmt.Sprintf("— %s %s\n", name, b64(b)))
	}
	return out
}
