package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"
)

// headingKey is a flag's annotation with the heading that help has it under.
const headingKey = "sigbox.heading"

// headed puts the flags that were added since the last call under a heading.
func (e *env) headed(cmd *cobra.Command, heading string) {
	cmd.SetUsageFunc(func(cmd *cobra.Command) error { return printUsage(cmd, columns(e.stdout)) })
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if f.Annotations[headingKey] == nil {
			_ = cmd.Flags().SetAnnotation(f.Name, headingKey, []string{heading}) // it is there
		}
	})
}

// flagsByHeadings gives the headings of a command's flags in their order, and the
// flags below each. Those of cobra itself are below the last.
func flagsByHeadings(cmd *cobra.Command) (headings []string, flags map[string]*pflag.FlagSet) {
	flags = make(map[string]*pflag.FlagSet)
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
		heading := f.Annotations[headingKey]
		if heading == nil {
			heading = headings[len(headings)-1:]
		}
		below := flags[heading[0]]
		if below == nil {
			below = pflag.NewFlagSet("", pflag.ContinueOnError)
			below.SortFlags = false
			headings, flags[heading[0]] = append(headings, heading[0]), below
		}
		below.AddFlag(f)
	})
	return headings, flags
}

// printUsage is cobra's usage, for a command whose flags have headings. Lines are as
// wide as said; 0 breaks none.
func printUsage(cmd *cobra.Command, width int) error {
	var b strings.Builder
	fmt.Fprintf(&b, "Usage:\n  %s\n\nExamples:\n%s\n", cmd.UseLine(), cmd.Example)
	headings, flags := flagsByHeadings(cmd)
	for _, h := range headings {
		fmt.Fprintf(&b, "\n%s:\n%s", h, flags[h].FlagUsagesWrapped(width))
	}
	_, err := io.WriteString(cmd.OutOrStderr(), b.String())
	return err
}

// columns is how wide a terminal is, 0 when nobody knows.
func columns(w io.Writer) int {
	if !isTerminal(w) {
		return 0
	}
	width, _, err := term.GetSize(int(w.(*os.File).Fd())) // a terminal is a file
	if err != nil {
		return 0
	}
	return width
}
