package config

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"runtime"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxFile is how much the file of a _FILE variable may hold.
const maxFile = 64 << 10

const (
	wantFile  = "the path of a readable UTF-8 file of at most 64 KiB that holds the value alone"
	wantOne   = "one of the two"
	wantQuote = "the value without quotes; if they belong to it, put it into a file and set "
)

// secretFile is a file that a _FILE variable named.
type secretFile struct{ variable, path string }

// secret reads a variable that may hold a secret, or the file that its sibling
// with the ending _FILE names.
func (r *reader) secret(variable string) string {
	value, file := strings.TrimSpace(r.getenv(variable)), secretFile{variable + "_FILE", r.text(variable + "_FILE")}
	switch {
	case file.path == "":
		return value
	case value != "":
		r.faults = append(r.faults, Fault{Variable: file.variable, Got: "a file beside " + variable, Want: wantOne})
		return value
	}
	text, got := r.readFile(file)
	if got != "" {
		r.faults = append(r.faults, Fault{Variable: file.variable, Got: got, Want: wantFile})
		return ""
	}
	if r.files == nil {
		r.files = map[string]secretFile{}
	}
	r.files[variable] = file
	return text
}

// unquoted reads a secret, and refuses one in quotes from the environment: Docker
// hands over the quotes of an env file, and they may belong to the secret.
func (r *reader) unquoted(variable string) string {
	value := r.secret(variable)
	if _, read := r.files[variable]; !read && withoutQuotes(value) != value {
		r.faults = append(r.faults, Fault{Variable: variable, Got: "a text in quotes", Want: wantQuote + variable + "_FILE"})
		return ""
	}
	return value
}

// withoutQuotes takes away the quotes around a value.
func withoutQuotes(value string) string {
	for _, quote := range []string{`"`, `'`} {
		if inner, found := strings.CutPrefix(value, quote); found && strings.HasSuffix(inner, quote) {
			return strings.TrimSpace(strings.TrimSuffix(inner, quote))
		}
	}
	return value
}

// readFile returns the text of a file without one line end, or what is wrong
// with the file.
func (r *reader) readFile(file secretFile) (text, got string) {
	name := file.shown()
	if r.open == nil {
		return "", "a file, and this program reads none"
	}
	f, err := r.open(file.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", name + ", which does not exist"
	case errors.Is(err, fs.ErrPermission):
		return "", name + ", which this process may not read"
	case err != nil:
		return "", name + ", which cannot be opened"
	}
	defer f.Close()
	info, err := f.Stat()
	if err == nil && info.IsDir() {
		return "", name + ", which is a directory"
	}
	data, readErr := io.ReadAll(io.LimitReader(f, maxFile+1))
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	switch {
	case err != nil || readErr != nil:
		return "", name + ", which cannot be read"
	case len(data) > maxFile:
		return "", name + ", which is larger than 64 KiB"
	case bytes.HasPrefix(data, []byte("\xff\xfe")), bytes.HasPrefix(data, []byte("\xfe\xff")):
		return "", name + ", which is in UTF-16; save it as UTF-8"
	case !utf8.Valid(data):
		return "", name + ", which is not UTF-8"
	}
	// Windows has no such bits.
	if info.Mode().IsRegular() && info.Mode().Perm()&0o004 != 0 && runtime.GOOS != "windows" {
		r.exposed = append(r.exposed, file.variable)
	}
	text = strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r")
	if text == "" {
		return "", name + ", which is empty"
	}
	return text, ""
}

// shown is the path, unless it may be a secret that went to the wrong variable.
func (f secretFile) shown() string {
	path := f.path
	drive := len(path) > 2 && path[1] == ':' && (path[2] == '\\' || path[2] == '/')
	rooted := drive || strings.HasPrefix(path, "/") || strings.HasPrefix(path, "./") || strings.HasPrefix(path, "../")
	if !rooted || strings.ContainsFunc(path, unicode.IsControl) || strings.Contains(path, "@") || !utf8.ValidString(path) {
		return "a path of " + shape(path)
	}
	return path
}
