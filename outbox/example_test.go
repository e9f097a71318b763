package outbox_test

import (
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/PitchConnect/fogispubsub/message"
	"github.com/PitchConnect/fogispubsub/outbox"
)

func ExampleOpen() {
	dir, err := os.MkdirTemp("", "outbox")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	box, err := outbox.Open(filepath.Join(dir, "outbox.db"), outbox.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer box.Close()
	for problem, cure := range box.Problems() {
		log.Print(problem, ": ", cure)
	}

	for _, id := range []string{"first", "second"} {
		m := message.Outgoing{ID: id, Type: message.TypeMatchUpdates, Body: []byte(`{"message_id":"` + id + `"}`)}
		if err := box.Put(m, ""); err != nil {
			log.Fatal(err) // the message is not on disk
		}
	}
	for {
		m, err := box.First(func(message.Queued) bool { return true }, message.TypeMatchUpdates)
		if err != nil {
			log.Fatal(err)
		}
		if m.ID == "" {
			break
		}
		fmt.Printf("sent %s\n", m.Body)
		if err := box.Remove(m.Type, m.ID); err != nil {
			log.Fatal(err)
		}
	}
	fmt.Println("left:", box.Stats().Len)
	// Output:
	// sent {"message_id":"first"}
	// sent {"message_id":"second"}
	// left: 0
}
