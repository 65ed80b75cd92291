package testbed

import (
	"archive/tar"
	"archive/zip"
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"

	"github.com/ulikunitz/xz"
)

// unzip unpacks the files under folder of an archive into dir.
func unzip(archive, folder, dir string) error {
	reader, err := zip.OpenReader(archive)
	if err != nil {
		return fmt.Errorf("open archive: %w", err)
	}
	defer reader.Close()
	files, err := fs.Sub(reader, folder)
	if err != nil {
		return fmt.Errorf("unzip %s: %w", archive, err)
	}
	if err := os.CopyFS(dir, files); err != nil {
		return fmt.Errorf("unzip %s: %w", archive, err)
	}
	return nil
}

// untarFromJar unpacks the one .txz that a jar holds into dir.
func untarFromJar(jar, dir string) error {
	reader, err := zip.OpenReader(jar)
	if err != nil {
		return fmt.Errorf("open jar: %w", err)
	}
	defer reader.Close()
	names, err := fs.Glob(reader, "*.txz")
	if err != nil || len(names) != 1 {
		return fmt.Errorf("find the .txz in %s: %d found", jar, len(names))
	}
	file, err := reader.Open(names[0])
	if err != nil {
		return fmt.Errorf("open %s: %w", names[0], err)
	}
	defer file.Close()
	decompressed, err := xz.NewReader(bufio.NewReaderSize(file, 1<<20))
	if err != nil {
		return fmt.Errorf("decompress %s: %w", names[0], err)
	}
	if err := untar(decompressed, dir); err != nil {
		return fmt.Errorf("unpack %s: %w", names[0], err)
	}
	return nil
}

func untar(archive io.Reader, dir string) error {
	root, err := os.OpenRoot(dir) // keeps a name such as ../x inside dir
	if err != nil {
		return err
	}
	defer root.Close()
	reader := tar.NewReader(archive)
	for {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := untarEntry(root, header, reader); err != nil {
			return err
		}
	}
}

func untarEntry(root *os.Root, header *tar.Header, content io.Reader) error {
	name := path.Clean(header.Name)
	if header.Typeflag == tar.TypeDir {
		return root.MkdirAll(name, 0o755)
	}
	if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	switch header.Typeflag {
	case tar.TypeSymlink:
		return root.Symlink(header.Linkname, name)
	case tar.TypeReg:
	default:
		return fmt.Errorf("%s: unexpected entry type %q", name, header.Typeflag)
	}
	file, err := root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, header.FileInfo().Mode().Perm())
	if err != nil {
		return err
	}
	_, err = io.Copy(file, content)
	return errors.Join(err, file.Close())
}
