package main

import (
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/app"
)

// dataFlags name an instance's directory and its settings.
type dataFlags struct {
	data   string
	config string
}

func (f *dataFlags) register(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.StringVar(&f.data, "data", "", "`DIR` with the instance's data (default $SIGBOX_DATA, else sigbox in $XDG_DATA_HOME or ~/.local/share)")
	fs.StringVar(&f.config, "config", "", "settings `FILE` (default config.yaml in the data directory, if there)")
	_ = cmd.MarkFlagDirname("data")
	_ = cmd.MarkFlagFilename("config", "yaml", "yml")
}

// settle gives the directory that is meant.
func (f *dataFlags) settle(e *env) (string, error) {
	if f.data != "" {
		return f.data, nil
	}
	if dir := e.getenv("SIGBOX_DATA"); dir != "" {
		return dir, nil
	}
	if dir := e.getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "sigbox"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", sigbox.Errorf(sigbox.Invalid, "no place for the instance's data: %w", err).WithHint("give --data DIR")
	}
	return filepath.Join(home, ".local", "share", "sigbox"), nil
}

// use calls do with what can be done to the instance.
func (f *dataFlags) use(e *env, cmd *cobra.Command, do func(app.Admin) error) error {
	dir, err := f.settle(e)
	if err != nil {
		return err
	}
	admin, err := app.OpenAdmin(cmd.Context(), app.Config{Data: dir, File: f.config, Now: e.now})
	if err != nil {
		return err
	}
	defer func() { _ = admin.Close() }() // what was done is durable, what was read is read
	return do(admin)
}
