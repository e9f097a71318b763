package main

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxExpanded bounds the bytes of a Compose file with each alias written out, and
// those that variables put into a text.
const maxExpanded = 4 << 20

// fits tells whether a document with each alias written out is within bounds.
func fits(n *yaml.Node, room *int, depth int) bool {
	if *room -= len(n.Value) + 1; *room < 0 || depth > 100 {
		return false
	}
	if n.Alias != nil {
		return fits(n.Alias, room, depth+1)
	}
	for _, child := range n.Content {
		if !fits(child, room, depth+1) {
			return false
		}
	}
	return true
}

var secretName = regexp.MustCompile(`(?i)pass|secret|token|key|auth|credential|pwd`)

// collectSecrets notes what no text may show.
func (c *composed) collectSecrets(file *composeFile, dir string, env func(string) string) {
	note := func(value string) {
		for _, secret := range []string{value, expand(value, env)} {
			if len(secret) >= 4 { // others would hide words
				c.secrets = append(c.secrets, secret)
			}
		}
	}
	for _, secret := range file.Secrets {
		path := expand(secret.File, env)
		if path != "" && !filepath.IsAbs(path) {
			path = filepath.Join(dir, path)
		}
		if data, err := readBounded(path); err == nil {
			for line := range strings.Lines(string(data)) {
				note(strings.TrimSpace(line))
			}
		}
	}
	for _, service := range file.Services {
		if service == nil {
			continue
		}
		switch variables := service.Environment.(type) {
		case map[string]any:
			for name, value := range variables {
				if value != nil && secretName.MatchString(name) {
					note(fmt.Sprint(value))
				}
			}
		case []any:
			for _, variable := range variables {
				if name, value, _ := strings.Cut(fmt.Sprint(variable), "="); secretName.MatchString(name) {
					note(value)
				}
			}
		}
	}
}
