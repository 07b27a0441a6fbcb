package main

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/spf13/cobra"
)

// evidenceFlags name the files with the signature, where they are not beside the
// artifact.
type evidenceFlags struct{ bundle, signature, certificate, timestamp string }

func (f *evidenceFlags) register(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.StringVar(&f.bundle, "bundle", "", "`FILE` with the bundle, when one artifact is verified; - is standard input")
	fs.StringVar(&f.signature, "signature", "", "`FILE` with a signature that is in no bundle, as cosign wrote them")
	fs.StringVar(&f.certificate, "certificate", "", "`FILE` with the certificate that belongs to --signature")
	fs.StringVar(&f.timestamp, "rfc3161-timestamp", "", "`FILE` with a timestamp of --signature")
}

// given reports whether the flags name anything.
func (f *evidenceFlags) given() bool { return f.bundle != "" || f.signature != "" }

// name is the flag that was given.
func (f *evidenceFlags) name() string {
	if f.signature != "" {
		return "--signature"
	}
	return "--bundle"
}

func (f *evidenceFlags) check() error {
	switch {
	case f.bundle != "" && f.signature != "":
		return usage("--bundle and --signature exclude each other: a bundle holds its signature")
	case f.certificate != "" && f.signature == "":
		return usage("--certificate needs --signature")
	case f.timestamp != "" && f.signature == "":
		return usage("--rfc3161-timestamp needs --signature")
	}
	return nil
}

// inputs are what verify's arguments stand for.
type inputs struct {
	found
	ctx      context.Context
	evidence evidenceFlags
	lists    listFlags
	read     map[string]bool // lists, by their clean paths
	// missing counts files that lists name and that are not here, where that is no
	// fault.
	missing int
}

// listFlags say what to do with files of checksums.
type listFlags struct {
	// checksums says whether files are lists, whatever their names.
	checksums     listsFlag
	ignoreMissing bool
}

func (f *listFlags) register(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.Var(&f.checksums, "checksums", "WHAT is a file of checksums, whatever its name; =false: none is")
	fs.Lookup("checksums").NoOptDefVal = "true"
	fs.BoolVar(&f.ignoreMissing, "ignore-missing", false, "pass over files that a file of checksums lists and that are not here")
}

// listsFlag is a bool that may not be given.
type listsFlag struct{ given, value bool }

// String, Set and Type make it a pflag.Value.
func (l *listsFlag) String() string {
	if !l.given {
		return ""
	}
	return strconv.FormatBool(l.value)
}

func (l *listsFlag) Set(s string) (err error) {
	l.given = true
	l.value, err = strconv.ParseBool(s)
	return err
}

func (l *listsFlag) Type() string { return "bool" }

// always and never overrule the names of files.
func (l *listsFlag) always() bool { return l.given && l.value }
func (l *listsFlag) never() bool  { return l.given && !l.value }

// findToVerify resolves the arguments of verify.
func findToVerify(ctx context.Context, f verifyFlags, args []string) (*inputs, error) {
	in := &inputs{ctx: ctx, evidence: f.evidence, lists: f.lists, read: make(map[string]bool)}
	for _, arg := range args {
		if err := in.add(arg); err != nil {
			return nil, err
		}
	}
	in.dedupe()
	return in, in.check()
}

// check finds what makes no sense in what was found.
func (in *inputs) check() error {
	if len(in.artifacts) == 0 {
		return &usageError{msg: "there is nothing to verify: found only " + cmp.Or(in.passed.String(), "empty directories"), hint: "name files, or directories with files in them"}
	}
	named := 0
	for _, a := range in.artifacts {
		if a.path == "" && !in.evidence.given() {
			return &usageError{msg: "there is nothing beside " + a.what() + " to look for a bundle in", hint: "name it: --bundle FILE"}
		}
		if a.stdin && in.evidence.bundle == "-" {
			return usage("standard input cannot be both the artifact and the bundle")
		}
		if a.alone {
			named++
		}
	}
	if in.evidence.given() && named > 1 {
		return usage("%s names one file, and there are %d artifacts to verify", in.evidence.name(), named)
	}
	return nil
}

// add resolves an argument. What is there by its very name is never a pattern.
func (in *inputs) add(arg string) error {
	if arg == "-" {
		in.artifacts = append(in.artifacts, artifact{stdin: true, alone: true})
		return nil
	}
	info, err := os.Stat(arg)
	switch {
	case errors.Is(err, fs.ErrNotExist) && isDigest(arg):
		return in.addDigest(arg)
	case errors.Is(err, fs.ErrNotExist) && isPattern(arg):
		return in.addPattern(arg)
	case errors.Is(err, fs.ErrNotExist):
		return &usageError{msg: "there is no file " + arg, hint: "name files, directories or digests like sha256:…"}
	case err != nil:
		return ioError(err)
	case info.IsDir() && in.lists.checksums.always():
		return usage("--checksums is for files, and %s is a directory", arg)
	case info.IsDir():
		return in.walk(in.ctx, arg, isEvidence, in.visit)
	case !info.Mode().IsRegular():
		return usage("%s is no regular file", arg)
	}
	return in.addNamed(arg)
}

// addPattern takes what matches a pattern as if each had been named.
func (in *inputs) addPattern(pattern string) error {
	matches, err := expandPattern(pattern)
	if err != nil {
		return err
	}
	if len(matches) == 0 {
		return &usageError{msg: "nothing matches " + pattern, hint: "name files, directories or digests like sha256:…"}
	}
	for _, m := range matches {
		if err := in.add(m); err != nil {
			return err
		}
	}
	return nil
}

// addNamed takes a file that was named. A bundle stands for the file that it is
// for, unless another is given.
func (in *inputs) addNamed(path string) error {
	if !in.evidence.given() {
		if a, ok := verifiedBy(path); ok {
			if !isFile(a) {
				return &usageError{
					msg:  path + " is a bundle, and the file that it is for, " + a + ", is not here",
					hint: "name the file, and the bundle by --bundle " + path,
				}
			}
			path = a
		}
	}
	if in.lists.checksums.always() || isChecksumName(path) && !in.lists.checksums.never() {
		return in.addList(path)
	}
	return in.addFile(path)
}

// isEvidence reports whether a file is there to verify another.
func isEvidence(path string) bool {
	_, ok := verifiedBy(path)
	return ok
}

// visit takes a file of a directory. A file of checksums that nobody signed is a
// file like any other.
func (in *inputs) visit(path string) error {
	if isChecksumName(path) && !in.lists.checksums.never() && len(evidenceBeside(path)) > 0 {
		return in.addList(path)
	}
	return in.addFile(path)
}

// addList takes a file of checksums with all files that it lists.
func (in *inputs) addList(path string) error {
	if in.read[filepath.Clean(path)] {
		return nil
	}
	in.read[filepath.Clean(path)] = true
	list, err := readChecksums(path)
	if err != nil {
		return err
	}
	in.artifacts = append(in.artifacts, artifact{path: path, alone: true, list: list})
	here := 0
	for _, sum := range list.listed {
		if in.lists.ignoreMissing && list.missing(sum.name) {
			in.missing++
			continue
		}
		here++
		name := sum.name
		if !filepath.IsAbs(name) {
			name = filepath.Join(filepath.Dir(path), name)
		}
		in.artifacts = append(in.artifacts, artifact{path: name, listed: []listing{{list, sum}}})
	}
	if here == 0 && list.err == nil {
		list.err = missingAll(list)
	}
	return nil
}
