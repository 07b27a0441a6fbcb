package main

import (
	"github.com/spf13/cobra"
)

func newCompletionCommand(e *env) *cobra.Command {
	return &cobra.Command{
		Use:       "completion bash|zsh|fish",
		Short:     "Print a script that completes commands in a shell",
		ValidArgs: []string{"bash", "zsh", "fish"},
		Long: `completion prints a script for your shell to complete sigbox's commands, flags
and the names of instances.`,
		Example: `  source <(sigbox completion bash)
  sigbox completion zsh > "${fpath[1]}/_sigbox"
  sigbox completion fish > ~/.config/fish/completions/sigbox.fish`,
		Args: exactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch root := cmd.Root(); args[0] {
			case "bash":
				return root.GenBashCompletionV2(e.stdout, true)
			case "zsh":
				return root.GenZshCompletion(e.stdout)
			case "fish":
				return root.GenFishCompletion(e.stdout, true)
			}
			return usage("completion: expected bash, zsh or fish, found %q", args[0])
		},
	}
}

// completeInstanceArg completes the name of an instance as the only argument.
func (e *env) completeInstanceArg(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return e.completeInstance(cmd, args, begun)
}

// completeInstance completes the name of an instance.
func (e *env) completeInstance(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	store, err := e.openInstances()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	list, err := store.List()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	names := make([]string, len(list))
	for n, i := range list {
		names[n] = i.Name + "\t" + i.URL
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
