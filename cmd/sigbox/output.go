package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"unicode/utf16"

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
// as they are; what a terminal would act upon, or not show, is escaped, which is the
// same to who reads JSON.
func (e *env) printJSON(v any) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return err
	}
	_, err := e.stdout.Write(visibleJSON(b.Bytes()))
	return err
}

// visibleJSON escapes the characters of JSON's strings that the encoder leaves and that
// are not visible: those of C1 above all, by which some terminals are controlled.
func visibleJSON(text []byte) []byte {
	hidden := func(r rune) bool { return r > '~' && !isVisible(r) }
	if !bytes.ContainsFunc(text, hidden) {
		return text
	}
	var b bytes.Buffer
	for _, r := range string(text) {
		if !hidden(r) {
			b.WriteRune(r)
			continue
		}
		for _, unit := range utf16.AppendRune(nil, r) {
			fmt.Fprintf(&b, `\u%04x`, unit)
		}
	}
	return b.Bytes()
}
