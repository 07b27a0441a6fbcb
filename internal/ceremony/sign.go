package ceremony

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/atomicfile"
	"github.com/sigbox/sigbox/wire/ceremony"
)

// Signed is what a desk has done.
type Signed struct {
	// Answer is the file to hand on.
	Answer []byte
	// Missing says what it still lacks; nothing when the instance can have it.
	Missing []string
	// Done says what was signed, for people.
	Done []string
}

// Sign signs what the plan has shown.
func (p *Plan) Sign(ctx context.Context) (*Signed, error) {
	out := &Signed{}
	done := func(format string, args ...any) { out.Done = append(out.Done, fmt.Sprintf(format, args...)) }
	for _, c := range p.chains {
		chain, err := p.makeChain(ctx, c)
		if err != nil {
			return nil, err
		}
		p.answer.Chains = append(p.answer.Chains, chain)
		for i, der := range chain.Certificates {
			sum := sha256.Sum256(der)
			done("certificate %d of %s, SHA256:%s", i+1, c.asked.Authority, hex.EncodeToString(sum[:]))
		}
	}
	if err := p.signRoot(ctx, done); err != nil {
		return nil, err
	}
	var err error
	if out.Missing, err = p.answer.Missing(); err != nil {
		return nil, err
	}
	if out.Answer, err = p.answer.Bytes(); err != nil {
		return nil, err
	}
	if _, err := ceremony.ParseAnswer(out.Answer); err != nil { // as the next one will
		return nil, sigbox.Errorf(sigbox.Internal, "the answer that was made is none").WithCause(err)
	}
	return out, nil
}

// signRoot adds this desk's signatures to the TUF root, and puts on record which root
// that was before anybody sees it.
func (p *Plan) signRoot(ctx context.Context, done func(string, ...any)) error {
	if p.root == nil {
		return nil
	}
	for _, k := range p.rootKeys {
		signer, err := p.desk.signer(ctx, k)
		if err != nil {
			return err
		}
		if err := p.root.Sign(signer); err != nil {
			return err
		}
		id, err := tufID(k)
		if err != nil {
			return err
		}
		done("version %d of the TUF root, by %s (TUF:%s)", p.root.Version, k.Name, id)
	}
	file, err := p.root.Bytes()
	if err != nil {
		return err
	}
	roots, err := ceremony.AppendRoot(nil, file)
	if err != nil {
		return err
	}
	p.answer.Root = roots[0]
	if len(p.rootKeys) == 0 {
		return nil
	}
	path := filepath.Join(p.desk.recordDir(p.answer.Request.Instance), rootName(p.root.Version))
	if err := atomicfile.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return diskError(err)
	}
	if err := atomicfile.Replace(path, file, 0o600); err != nil {
		return diskError(err)
	}
	return nil
}

// File is a file of a ceremony, for its transcript.
type File struct {
	Name string
	Data []byte
}

// Transcript is what those who were there put their names to.
func (p *Plan) Transcript(s *Signed, files ...File) []byte {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("Ceremony of %s, %s", p.desk.config.Organization, p.now.Format("2006-01-02 15:04:05 UTC"))
	line("")
	line("Asked for")
	for _, l := range p.Lines {
		line("%s", strings.TrimRight("  "+l, " "))
	}
	line("")
	line("Signed")
	for _, l := range s.Done {
		line("  %s", l)
	}
	line("")
	line("Still lacking")
	if len(s.Missing) == 0 {
		line("  nothing")
	}
	for _, l := range s.Missing {
		line("  %s", l)
	}
	line("")
	line("Files (SHA-256)")
	for _, f := range files {
		sum := sha256.Sum256(f.Data)
		line("  %s  %s", hex.EncodeToString(sum[:]), f.Name)
	}
	line("")
	line("Witnesses: name, date, signature")
	for range 3 {
		line("")
		line("  ______________________  ______________  ______________________")
	}
	return []byte(b.String())
}
