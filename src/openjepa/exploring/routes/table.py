"""The table of routes. To add one, write its function in one of the files beside this, and one entry here."""

from openjepa.exploring.route import OCTETS, TEXT, Route
from openjepa.exploring.routes import curation, queries, views
from openjepa.exploring.schemas import (
    ClustersAnswer,
    ColumnAnswer,
    DuplicatesAnswer,
    ExamplesBody,
    ExportBody,
    Facts,
    Ids,
    ImageSize,
    IndexAnswer,
    MapKind,
    NamesAnswer,
    OutliersAnswer,
    Point,
    SearchAnswer,
    SearchBody,
    Similarity,
    Top,
    UploadAnswer,
    WhereBody,
)

MOST_UPLOAD = 20 * 2**20  # bytes
ID = {"id": "the place of an image, from 0 in stored order"}
NAME = {"name": "a column of /api/index"}
UPLOAD = {"upload": "as POST /api/uploads named it"}
JPEG, WEBP = "image/jpeg", "image/webp"

ROUTES = (
    Route("GET", "/api/index", "What the index is of, and its columns.", views.about, IndexAnswer),
    Route(
        "GET",
        "/api/points",
        "The map: float32 x, y of every image in stored order, little endian, in [-1, 1]. The header X-Map says by "
        "which method. The first request may take minutes; the map is then kept.",
        views.points,
        OCTETS,
        MapKind,
        needs=views.needs_of_points,
    ),
    Route(
        "GET",
        "/api/columns/{name}",
        "A column: categories by falling count (254 at most, then other), or the range of its numbers; times are "
        "seconds since 1970. cluster and outlier are computed.",
        views.column,
        ColumnAnswer,
        needs=views.needs_of_column,
        words=NAME,
    ),
    Route(
        "GET",
        "/api/columns/{name}/values",
        "A value for each image: a uint8 code of its category (255: missing), or a float32 number (NaN: missing). The "
        "number of a text is its rank in sorted order.",
        views.column_values,
        OCTETS,
        needs=views.needs_of_column,
        words=NAME,
    ),
    Route(
        "GET",
        "/api/thumbnails/{id}",
        "The thumbnail; with ?v=OPENED (of /api/index) the browser keeps it.",
        views.thumbnail,
        WEBP,
        words=ID,
    ),
    Route(
        "GET",
        "/api/images/{id}",
        "The upright original, its longer side at most size.",
        views.image,
        JPEG,
        ImageSize,
        words=ID,
    ),
    Route("GET", "/api/names", "The paths of some images, in their order.", views.names, NamesAnswer, Ids),
    Route("GET", "/api/images/{id}/facts", "What the index knows of an image.", views.facts, Facts, words=ID),
    Route(
        "GET",
        "/api/images/{id}/similarity",
        "How similar each patch of an image is to the patch at a point of it. Needs an index with patch tokens.",
        queries.similarity,
        Similarity,
        Point,
        words=ID,
    ),
    Route(
        "POST",
        "/api/uploads",
        "Sends an image file (20 MB at most) to search with. The last 16 are kept, in memory.",
        views.upload,
        UploadAnswer,
        body=MOST_UPLOAD,
    ),
    Route(
        "GET",
        "/api/uploads/{upload}",
        "An upload, upright, its longer side at most 2,048 pixels.",
        views.uploaded,
        JPEG,
        words=UPLOAD,
    ),
    Route(
        "GET",
        "/api/uploads/{upload}/similarity",
        "As GET /api/images/{id}/similarity, of an upload.",
        queries.similarity_of_upload,
        Similarity,
        Point,
        words=UPLOAD,
    ),
    Route(
        "POST",
        "/api/search",
        "The images most similar to some, as openjepa search finds them. Images are places of the index or uploads.",
        queries.search,
        SearchAnswer,
        body=SearchBody,
    ),
    Route(
        "POST",
        "/api/where",
        "Which images a condition holds for: uint8, 1 or 0, for every image.",
        queries.where,
        OCTETS,
        body=WhereBody,
    ),
    Route(
        "POST",
        "/api/examples",
        "From a few images that show something, and a few that do not: float32 for every image, 0 to 1, how likely it "
        "does.",
        queries.examples,
        OCTETS,
        body=ExamplesBody,
    ),
    Route(
        "GET",
        "/api/duplicates",
        "Groups of copies, as openjepa curate duplicates explains them; 1,000 groups at most.",
        curation.copies,
        DuplicatesAnswer,
        needs=lambda *_: ("duplicates",),
    ),
    Route(
        "GET",
        "/api/outliers",
        "The oddest images, with the nearest others.",
        curation.odd,
        OutliersAnswer,
        Top,
        needs=lambda *_: ("outliers",),
    ),
    Route(
        "GET",
        "/api/clusters",
        "Groups of similar images with those nearest to their centres.",
        curation.groups,
        ClustersAnswer,
        needs=lambda *_: ("clusters",),
    ),
    Route(
        "POST",
        "/api/export",
        "A list of images as a file: a CSV table, with the label `name` where it is given, or a path a line.",
        curation.export,
        TEXT,
        body=ExportBody,
    ),
)
