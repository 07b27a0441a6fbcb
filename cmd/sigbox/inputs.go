package main

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/sigbox/sigbox"
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

// of gives where the signatures of an artifact may be.
func (f *evidenceFlags) of(a artifact) []evidence {
	switch {
	case f.given():
		return []evidence{{f.bundle, f.signature, f.certificate, f.timestamp}}
	case a.by != nil:
		return slices.Clone(a.by)
	}
	return a.evidence()
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
	for _, file := range [...]string{f.bundle, f.signature, f.certificate, f.timestamp} {
		switch _, err := os.Stat(file); {
		case file == "" || file == "-" || err == nil:
		case errors.Is(err, fs.ErrNotExist):
			return &usageError{msg: "there is no file " + file, hint: "--bundle, --signature, --certificate and --rfc3161-timestamp name files that are there"}
		default:
			return ioError(err)
		}
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
	walked   bool            // there were directories
	// missing are files that lists name or bundles are for, and that are not here,
	// where that is no fault.
	missing map[string]bool
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
	fs.BoolVar(&f.ignoreMissing, "ignore-missing", false, "pass over files that are not here, and that a file of checksums lists or a directory has a bundle for")
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

func (l *listsFlag) Set(s string) error {
	v, err := strconv.ParseBool(s)
	if err != nil {
		return errors.New("expected true or false")
	}
	l.given, l.value = true, v
	return nil
}

func (l *listsFlag) Type() string { return "bool" }

// always and never overrule the names of files.
func (l *listsFlag) always() bool { return l.given && l.value }
func (l *listsFlag) never() bool  { return l.given && !l.value }

// findToVerify resolves the arguments of verify.
func findToVerify(ctx context.Context, f verifyFlags, args []string) (*inputs, error) {
	in := &inputs{ctx: ctx, evidence: f.evidence, lists: f.lists, read: make(map[string]bool), missing: make(map[string]bool)}
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
		return &usageError{msg: "there is nothing to verify: found only " + cmp.Or(notLookedAt(in.passed, len(in.missing)), "empty directories"), hint: "name files, or directories with files in them"}
	}
	named := 0
	for _, a := range in.artifacts {
		if a.path == "" && in.lists.checksums.always() {
			return usage("--checksums is for files, and %s is none", a.what())
		}
		if a.path == "" && a.image.IsZero() && !in.evidence.given() {
			return &usageError{msg: "there is nothing beside " + a.what() + " to look for a bundle in", hint: "name it: --bundle FILE"}
		}
		if a.stdin && in.evidence.bundle == "-" {
			return usage("standard input cannot be both the artifact and the bundle")
		}
		if a.alone && !a.bundle {
			named++
		}
	}
	if in.lists.ignoreMissing && len(in.read) == 0 && !in.walked {
		return usage("--ignore-missing is for files of checksums and directories, and there is neither")
	}
	if in.evidence.given() && named > 1 {
		return usage("%s names one file, and there are %d artifacts to verify", in.evidence.name(), named)
	}
	return nil
}

// count is how many artifacts there are for certain.
func (in *inputs) count() int {
	n := 0
	for _, a := range in.artifacts {
		if !a.bundle {
			n++
		}
	}
	return n
}

// add resolves an argument. What is there by its very name is never a pattern, and
// what is a digest is never a file.
func (in *inputs) add(arg string) error {
	switch {
	case arg == "-":
		in.artifacts = append(in.artifacts, artifact{stdin: true, alone: true})
		return nil
	case isHash(arg):
		return in.addDigest(arg)
	}
	return in.addPath(arg)
}

func (in *inputs) addPath(arg string) error {
	if ref, ok, err := imageOf(arg); ok || err != nil {
		in.addImage(arg, ref)
		return err
	}
	info, err := os.Stat(arg)
	switch {
	case errors.Is(err, fs.ErrNotExist) && isDigest(arg):
		return in.addDigest(arg)
	case errors.Is(err, fs.ErrNotExist) && isPattern(arg):
		return in.addPattern(arg)
	case errors.Is(err, fs.ErrNotExist):
		return &usageError{msg: "there is no file " + arg, hint: "name files, directories, images with their registry, or digests like sha256:…"}
	case err != nil:
		return ioError(err)
	case info.IsDir() && in.lists.checksums.always():
		return usage("--checksums is for files, and %s is a directory", arg)
	case info.IsDir():
		in.walked = true
		return in.addDirectory(resolveUp(arg))
	case !info.Mode().IsRegular():
		return usage("%s is no regular file", arg)
	}
	return in.addNamed(resolveUp(arg))
}

// addPattern takes what matches a pattern as if each had been named, as a file.
func (in *inputs) addPattern(pattern string) error {
	matches, err := expandPattern(pattern)
	if err != nil {
		return err
	}
	if len(matches) == 0 {
		return &usageError{msg: "nothing matches " + pattern, hint: "name files, directories or digests like sha256:…"}
	}
	for _, m := range matches {
		if m == "-" || isDigest(m) {
			m = "./" + m
		}
		if err := in.addPath(m); err != nil {
			return err
		}
	}
	return nil
}

// addNamed takes a file that was named. A bundle stands for the file that it is
// for, which is then judged by it, unless another is given.
func (in *inputs) addNamed(path string) error {
	if in.evidence.given() {
		return in.addSigned(path, nil)
	}
	a, v, ok := evidenceIn(path)
	switch {
	case !ok:
		return in.addSigned(path, nil)
	case !isFile(a):
		return &usageError{
			msg:  path + " is a bundle, and the file that it is for, " + a + ", is not here",
			hint: "name the file, and the bundle by --bundle " + path,
		}
	}
	return in.addSigned(a, []evidence{v})
}

// addSigned takes a file with the signatures that count for it.
func (in *inputs) addSigned(path string, by []evidence) error {
	a := artifact{path: path, alone: true, by: by}
	if in.lists.checksums.always() || isChecksumName(path) && !in.lists.checksums.never() {
		return in.addList(a)
	}
	in.artifacts = append(in.artifacts, a)
	return nil
}

// addDirectory takes what a directory has. Bundles of files in it will be read when
// those are judged, and not before: what counts is read once.
func (in *inputs) addDirectory(root string) error {
	var files []visited
	seen, err := in.walk(in.ctx, root, func(v visited) { files = append(files, v) })
	if err != nil {
		return err
	}
	files = in.followLinks(root, files)
	for i, f := range files {
		files[i].bundle = !in.evidence.given() && (isBundleName(f.path) && seen[artifactOf(f.path)] || isDetachedName(f.path, seen.isFile))
	}
	if err := lookInto(in.ctx, files, bundledIn); err != nil {
		return err
	}
	files = in.dropLinks(files, seen)
	in.artifacts = slices.Grow(in.artifacts, len(files))
	for _, f := range files {
		if err := in.addVisited(f, seen); err != nil {
			return err
		}
	}
	return nil
}

// bundledIn gives the file that one holds bundles for, "" if it holds anything else.
// Whether a detached signature is one is for the judge to say.
func bundledIn(path string) string {
	artifact, v, ok := evidenceIn(path)
	if !ok || v.signature != "" {
		return ""
	}
	return artifact
}

// addVisited takes a file of a directory. A file of checksums that nobody signed is
// a file like any other.
func (in *inputs) addVisited(f visited, seen seen) error {
	a := artifact{path: f.path, alone: true, bundle: f.bundle, seen: seen}
	switch {
	case f.err != nil:
		a.err = f.err
		in.artifacts = append(in.artifacts, a)
	case f.artifact != "":
		in.passed.Bundles++
		in.wantFile(f.artifact, f.path)
	case isChecksumName(f.path) && !in.lists.checksums.never() && len(a.evidence()) > 0:
		return in.addList(a)
	default:
		in.artifacts = append(in.artifacts, a)
	}
	return nil
}

// wantFile notes the file of a bundle when it is not here: somebody may have taken
// it away.
func (in *inputs) wantFile(path, bundle string) {
	switch {
	case isFile(path):
	case in.lists.ignoreMissing:
		in.missing[filepath.Clean(path)] = true
	default:
		err := sigbox.Errorf(sigbox.NotVerified, "%s is for it, and it is not here", bundle).WithHint("--ignore-missing passes over such files")
		in.artifacts = append(in.artifacts, artifact{path: path, alone: true, err: err})
	}
}

// addList takes a file of checksums with all files that it lists.
func (in *inputs) addList(a artifact) error {
	if in.read[filepath.Clean(a.path)] {
		in.artifacts = append(in.artifacts, a)
		return nil
	}
	in.read[filepath.Clean(a.path)] = true
	list, err := readChecksums(a.path)
	if err != nil {
		return err
	}
	a.list = list
	in.artifacts = append(in.artifacts, a)
	here := 0
	for _, sum := range list.listed {
		name := sum.name
		if !filepath.IsAbs(name) {
			name = filepath.Join(filepath.Dir(a.path), name)
		}
		if in.lists.ignoreMissing && list.missing(sum.name) {
			in.missing[name] = true
			continue
		}
		here++
		in.artifacts = append(in.artifacts, artifact{path: name, listed: []listing{{list, sum}}})
	}
	if here == 0 && list.err == nil {
		list.err = missingAll(list)
	}
	return nil
}
