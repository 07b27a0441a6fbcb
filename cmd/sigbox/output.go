package main

import (
	"encoding/json"

	"github.com/spf13/cobra"
)

// outputFlag is --output text|json. The zero value is text.
type outputFlag string

// register adds the flag to cmd.
func (o *outputFlag) register(cmd *cobra.Command) {
	cmd.Flags().VarP(o, "output", "o", "how the result is printed: text or json")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp))
}

// String, Set and Type make it a pflag.Value.
func (o *outputFlag) String() string {
	if *o == "" {
		return "text"
	}
	return string(*o)
}

func (o *outputFlag) Set(s string) error {
	if s != "text" && s != "json" {
		return usage("expected text or json")
	}
	*o = outputFlag(s)
	return nil
}

func (o *outputFlag) Type() string { return "text|json" }

func (o *outputFlag) json() bool { return *o == "json" }

// printJSON writes v as indented JSON to standard output. HTML characters stay
// as they are.
func (e *env) printJSON(v any) error {
	enc := json.NewEncoder(e.stdout)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
