"""The content types of files by their extensions, as Cloudflare's tools name them.

A file whose extension is not listed has no content type: guessing one is left to nobody.
"""

from __future__ import annotations

_TYPES = """
application/atom+xml atom
application/dash+xml mpd
application/epub+zip epub
application/geo+json geojson
application/gpx+xml gpx
application/gzip gz
application/java-archive jar
application/json json map
application/json5 json5
application/ld+json jsonld
application/manifest+json webmanifest
application/msword doc
application/node cjs
application/octet-stream exe dmg iso bin deb
application/pdf pdf
application/postscript ps eps ai
application/rss+xml rss
application/rtf rtf
application/sql sql
application/toml toml
application/vnd.android.package-archive apk
application/vnd.apple.mpegurl m3u8
application/vnd.google-earth.kml+xml kml
application/vnd.google-earth.kmz kmz
application/vnd.ms-excel xls
application/vnd.ms-fontobject eot
application/vnd.ms-powerpoint ppt
application/vnd.oasis.opendocument.presentation odp
application/vnd.oasis.opendocument.spreadsheet ods
application/vnd.oasis.opendocument.text odt
application/vnd.openxmlformats-officedocument.presentationml.presentation pptx
application/vnd.openxmlformats-officedocument.spreadsheetml.sheet xlsx
application/vnd.openxmlformats-officedocument.wordprocessingml.document docx
application/vnd.rar rar
application/wasm wasm
application/x-7z-compressed 7z
application/x-bzip2 bz2
application/x-httpd-php php
application/x-perl pl
application/x-sh sh
application/x-shockwave-flash swf
application/x-subrip srt
application/x-tar tar
application/xhtml+xml xhtml
application/xml xml xsl
application/xslt+xml xslt
application/zip zip
audio/aac aac
audio/midi mid
audio/mp4 m4a
audio/mpeg mp3
audio/ogg ogg oga opus
audio/wav wav
audio/webm weba
audio/x-flac flac
font/collection ttc
font/otf otf
font/ttf ttf
font/woff woff
font/woff2 woff2
image/apng apng
image/avif avif
image/bmp bmp
image/gif gif
image/heic heic
image/heif heif
image/jpeg jpg jpeg jpe
image/jxl jxl
image/png png
image/svg+xml svg svgz
image/tiff tif tiff
image/vnd.adobe.photoshop psd
image/vnd.microsoft.icon ico
image/webp webp
model/gltf+json gltf
model/gltf-binary glb
model/obj obj
model/stl stl
model/vnd.usdz+zip usdz
text/cache-manifest manifest
text/calendar ics
text/coffeescript coffee
text/css css
text/csv csv
text/html html htm
text/javascript js mjs
text/jsx jsx
text/less less
text/markdown md markdown
text/plain txt text log conf ini
text/stylus styl
text/tab-separated-values tsv
text/vtt vtt
text/x-c c h cpp
text/x-java-source java
text/x-sass sass
text/x-scss scss
text/x-vcard vcf
text/yaml yaml yml
video/3gpp 3gp
video/mp2t ts
video/mp4 mp4
video/mpeg mpeg mpg
video/ogg ogv
video/quicktime mov
video/webm webm
video/x-m4v m4v
video/x-matroska mkv
video/x-msvideo avi
"""
_BY_EXTENSION = {
    extension: content_type
    for content_type, *extensions in map(str.split, _TYPES.strip().splitlines())
    for extension in extensions
}


def content_type_of(name: str) -> str | None:
    """Return the content type of a file; text is UTF-8."""
    _, dot, extension = name.rpartition("/")[2].rpartition(".")
    found = _BY_EXTENSION.get(extension.lower()) if dot else None
    if found is not None and found.startswith("text/"):
        return f"{found}; charset=utf-8"
    return found
