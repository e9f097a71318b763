package outbox

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"go.etcd.io/bbolt"
)

// judge looks at the file before bbolt does, and writes nothing. The error is a
// [*damage] only if the file is an outbox.
func judge(file *os.File) (lame bool, err error) {
	info, err := file.Stat()
	if err != nil || info.Size() == 0 { // new
		return false, err
	}
	if !info.Mode().IsRegular() {
		return false, errors.New("not a regular file; name a file")
	}
	lame, err = checkPages(file, info.Size())
	if found, ok := errors.AsType[*damage](err); ok && !hasMark(file) {
		err = foreign(found.why)
	}
	return lame, err
}

// foreign is the error about a file that is no outbox.
func foreign(why string) error {
	return fmt.Errorf("not an outbox file: %s; name another file, or move this one away", why)
}

// hasMark tells whether the format of an outbox stands in a file as bbolt
// writes it. No text about it looks the same.
func hasMark(file io.ReaderAt) bool {
	var element []byte
	for _, field := range []uint32{0, elementSize, uint32(len(formatKey)), uint32(len(formatValue))} {
		element = binary.NativeEndian.AppendUint32(element, field)
	}
	element = append(element, formatKey...)
	b := make([]byte, 1<<16)
	for at := int64(0); ; at += int64(len(b) - len(element) - 1) {
		n, err := file.ReadAt(b, at)
		for _, version := range []string{formatValue, formatBefore} {
			if bytes.Contains(b[:n], append(bytes.Clone(element), version...)) {
				return true
			}
		}
		if err != nil {
			return false
		}
	}
}

func isDamage(err error) bool {
	_, ok := errors.AsType[*damage](err)
	return ok
}

// readFormat tells whose file it is. empty tells that it was never used.
func readFormat(tx *bbolt.Tx) (version string, empty bool, err error) {
	if key, _ := tx.Cursor().First(); key == nil {
		return "", true, nil
	}
	format := tx.Bucket([]byte(formatBucket))
	if format == nil {
		return "", false, foreign("a database of another program")
	}
	version = string(format.Get([]byte(formatKey)))
	if err := checkVersion(version); err != nil {
		return "", false, err
	}
	return version, false, tx.ForEach(func(name []byte, bucket *bbolt.Bucket) error {
		if _, _, ok := parseBucketName(name); !ok && string(name) != formatBucket || bucket == nil {
			return foreign("it holds what this version does not know")
		}
		return nil
	})
}

func checkVersion(version string) error {
	switch version {
	case formatValue, formatBefore:
		return nil
	case "":
		return foreign("a database of another program")
	}
	return fmt.Errorf("an outbox file of another version than %s; use the version of this library that made it, or name another file", formatValue)
}
