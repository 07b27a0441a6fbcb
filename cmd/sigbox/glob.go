package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// isPattern reports whether an argument may be a pattern that no shell expanded.
func isPattern(arg string) bool { return strings.ContainsAny(arg, `*?[`) }

// expandPattern gives the files and directories that match a pattern, as in
// [filepath.Match]; "**" stands for any number of directories. Names that begin
// with a dot want a pattern that does, as in a shell.
func expandPattern(pattern string) ([]string, error) {
	if _, err := filepath.Match(pattern, ""); err != nil {
		return nil, &usageError{msg: pattern + " is no pattern that can be read", hint: "a [ wants its ], and a backslash takes the meaning of what follows"}
	}
	parts := strings.Split(filepath.ToSlash(pattern), "/")
	start := ""
	if parts[0] == "" || filepath.VolumeName(pattern) != "" {
		start = parts[0] + "/"
		parts = parts[1:]
	}
	parts = slices.CompactFunc(parts, func(a, b string) bool { return a == "**" && b == "**" })
	var e expansion
	if err := e.below(start, parts); err != nil {
		return nil, ioError(err)
	}
	slices.Sort(e.matches)
	return slices.Compact(e.matches), nil
}

type expansion struct{ matches []string }

// below matches what is left of a pattern below dir, which is "" or ends in a
// slash. Directories that are links are not entered for "**", so it ends.
func (e *expansion) below(dir string, parts []string) error {
	if len(parts) == 0 || parts[0] == "" && len(parts) == 1 { // a slash at the end
		e.matches = append(e.matches, filepath.Clean(resolveUp(dir)))
		return nil
	}
	first, rest := parts[0], parts[1:]
	if !isPattern(first) {
		return e.enter(dir+strings.ReplaceAll(first, `\`, ""), rest)
	}
	entries, err := os.ReadDir(orDot(dir))
	if err != nil {
		return ignoreAbsent(err)
	}
	if first == "**" && len(rest) > 0 {
		if err := e.below(dir, rest); err != nil {
			return err
		}
	}
	for _, entry := range entries {
		if err := e.entry(dir, entry, first, rest); err != nil {
			return err
		}
	}
	return nil
}

func orDot(dir string) string {
	if dir == "" {
		return "."
	}
	return dir
}

// ignoreAbsent is for what a pattern might have matched, and is not there.
func ignoreAbsent(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// entry matches a directory's entry with the first part of a pattern.
func (e *expansion) entry(dir string, entry fs.DirEntry, first string, rest []string) error {
	name := entry.Name()
	if ok, err := filepath.Match(first, name); err != nil || !ok || name[0] == '.' && first[0] != '.' {
		return err
	}
	if first == "**" && entry.IsDir() {
		return e.below(dir+name+"/", append([]string{first}, rest...))
	}
	if first == "**" && len(rest) > 0 {
		return nil
	}
	return e.enter(dir+name, rest)
}

// enter goes on below path, if that is there. A link into nowhere is a match: who
// reads it will tell.
func (e *expansion) enter(path string, rest []string) error {
	if len(rest) == 0 {
		if _, err := os.Lstat(path); err != nil {
			return ignoreAbsent(err)
		}
		e.matches = append(e.matches, filepath.Clean(resolveUp(path)))
		return nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return ignoreAbsent(err)
	}
	if !info.IsDir() {
		return nil
	}
	return e.below(path+"/", rest)
}
