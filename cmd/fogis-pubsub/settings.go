package main

import (
	"io/fs"
	"os"

	"github.com/PitchConnect/fogispubsub/config"
)

// readSettings reads the environment, and the files that it names.
func readSettings(getenv func(string) string) (config.Config, error) {
	return config.FromEnvAndFiles(getenv, func(name string) (fs.File, error) { return os.Open(name) })
}
