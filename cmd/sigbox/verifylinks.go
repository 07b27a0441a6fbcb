package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/sigbox/sigbox"
)

// followLinks says of the links among a directory's files where they lead. Those to
// files stay among the files. Those that lead nowhere, to what is no file, or to a
// directory that is looked through anyway are passed over. A link to any other
// directory is an artifact that cannot be verified: nobody looks what is behind it.
func (in *inputs) followLinks(root string, files []visited) []visited {
	kept := files[:0]
	for _, f := range files {
		if f.link {
			info, err := os.Stat(f.path)
			f.to = below(root, f.path)
			switch {
			case leadsNowhere(err), err == nil && !info.Mode().IsRegular() && !info.IsDir(), err == nil && info.IsDir() && f.to != "":
				in.passed.addOdd(f.path)
				continue
			case err != nil:
				f.err = ioError(err)
			case info.IsDir():
				f.err = sigbox.Errorf(sigbox.NotVerified, "it is a link to a directory that is not looked through with %s", root).
					WithHint("remove the link, or name what is in %s one by one, as a shell's * does: a link that is named is entered", root)
			}
		}
		kept = append(kept, f)
	}
	return kept
}

// leadsNowhere reports whether following a link failed because there is nothing.
func leadsNowhere(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ELOOP) || errors.Is(err, syscall.ENOTDIR)
}

// below gives what a link leads to by its path below root, as [found.walk] gives it;
// "" for what that does not come to.
func below(root, link string) string {
	realRoot, rootErr := realPath(root)
	target, err := realPath(link)
	if rootErr != nil || err != nil {
		return ""
	}
	rel, err := filepath.Rel(realRoot, target)
	if err != nil || !filepath.IsLocal(rel) {
		return ""
	}
	hidden := func(name string) bool { return slices.Contains(versionControl[:], name) }
	if path := filepath.Join(root, rel); !slices.ContainsFunc(strings.Split(rel, string(filepath.Separator)), hidden) && sameFile(path, link) {
		return path
	}
	return ""
}

// realPath gives the one absolute path of a file that goes through no link.
func realPath(path string) (string, error) {
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", err
	}
	if path, err = filepath.Abs(path); err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(path) // the working directory may have been reached by a link
}

func sameFile(a, b string) bool {
	infoA, errA := os.Stat(a)
	infoB, errB := os.Stat(b)
	return errA == nil && errB == nil && os.SameFile(infoA, infoB)
}

// dropLinks passes over the links to files that are judged themselves, where there is
// no evidence for the link's own name.
func (in *inputs) dropLinks(files []visited, seen seen) []visited {
	if !slices.ContainsFunc(files, func(f visited) bool { return f.link }) {
		return files
	}
	judged := make(map[string]bool)
	for _, f := range files {
		if !f.link && f.isArtifact() {
			judged[f.path] = true
		}
	}
	return slices.DeleteFunc(files, func(f visited) bool {
		drop := f.link && f.isArtifact() && judged[f.to] && len(evidenceBeside(f.path, seen.isFile)) == 0
		if drop {
			in.passed.addOdd(f.path)
		}
		return drop
	})
}
