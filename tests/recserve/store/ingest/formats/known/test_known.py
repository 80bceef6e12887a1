"""Files of well-known data sets, with their true headers and quirks, imported by one command each."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from recserve.store import open_store
from tests.support.importing import Imported, imported, write


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def load(
    folder: Path, events: tuple[str, str | bytes] | None, items: tuple[str, str | bytes] | None
) -> Imported:
    """Import one or two files by the command that the how-to gives."""
    arguments: list[str | Path] = []
    if events:
        arguments += ["--events", write(folder, *events)]
    if items:
        arguments += ["--items", write(folder, *items)]
    return imported(folder / "home", *arguments)


def lines(*objects: Mapping[str, object]) -> str:
    return "".join(json.dumps(one) + "\n" for one in objects)


def test_movielens_100k(tmp_path: Path) -> None:
    flags = "0|0|0|1|1|1|0|0|0|0|0|0|0|0|0|0|0|0|0"
    films = (
        f"1|Toy Story (1995)|01-Jan-1995||http://us.imdb.com/M/title-exact?Toy%20Story%20(1995)|{flags}\n"
        f"267|Misérables, Les (1995)|||http://us.imdb.com/x|1{flags[1:]}\n"
    )
    done = load(
        tmp_path,
        ("u.data", "196\t1\t3\t881250949\n186\t267\t5\t891717742\n22\t1\t1\t878887116\n"),
        ("u.item", films.encode("latin-1")),
    )
    assert done.values() == [("186", "267", 5.0), ("196", "1", 3.0), ("22", "1", 1.0)]
    assert done.types == {"rating": 3}
    assert done.events[1]["timestamp"] == 881250949000
    assert done.items["1"]["title"] == "Toy Story (1995)"
    assert done.items["1"]["genres"] == ["Animation", "Children's", "Comedy"]
    assert done.items["267"]["title"] == "Misérables, Les (1995)"
    assert "events: u.data: MovieLens 100K" in done.said
    assert "items: u.item: MovieLens 100K; read as windows-1252" in done.said


def test_a_flag_of_movielens_100k_that_is_none_costs_itself_alone(tmp_path: Path) -> None:
    row = "1|Toy Story (1995)|01-Jan-1995||http://us.imdb.com/|0|0|0|1|1|{}|0|0|0|0|0|0|0|0|0|0|0|0|0\n"
    done = load(tmp_path, None, ("u.item", row.format("1") + row.format("?").replace("1|", "2|", 1)))
    assert done.items["1"]["genres"] == ["Animation", "Children's", "Comedy"]
    assert done.items["2"]["genres"] == ["Animation", "Children's"]


def test_rows_without_an_item_are_all_counted(tmp_path: Path) -> None:
    name = "usersha1-artmbid-artname-plays.tsv"
    rows = PLAYS + "00001411dc\t\t\t1\n00001411de\t\t\t2\n"
    path = write(tmp_path, name, rows)
    assert (
        "left out: item_id is empty 2"
        in imported(tmp_path / "home", "--items", path, "--allow-bad", "1").said
    )


def test_movielens_1m(tmp_path: Path) -> None:
    done = load(
        tmp_path,
        ("ratings.dat", "1::1193::5::978300760\n1::661::3::978302109\n2::1193::4::978298413\n"),
        (
            "movies.dat",
            "661::James and the Giant Peach (1996)::Animation|Children's|Musical\n"
            '1193::One "Flew": Over the Cuckoo\'s Nest (1975)::Drama\n',
        ),
    )
    assert done.values() == [("1", "1193", 5.0), ("1", "661", 3.0), ("2", "1193", 4.0)]
    assert done.items["661"]["genres"] == ["Animation", "Children's", "Musical"]
    assert done.items["1193"]["title"].startswith('One "Flew": Over')


def test_movielens_csv(tmp_path: Path) -> None:
    done = load(
        tmp_path,
        ("ratings.csv", "userId,movieId,rating,timestamp\n1,1,4.0,964982703\n1,3,0.5,964981247\n"),
        (
            "movies.csv",
            "movieId,title,genres\n1,Toy Story (1995),Adventure|Animation\n"
            '3,"American President, The (1995)",(no genres listed)\n',
        ),
    )
    assert done.values() == [("1", "1", 4.0), ("1", "3", 0.5)]
    assert done.items == {
        "1": {"title": "Toy Story (1995)", "genres": ["Adventure", "Animation"]},
        "3": {"title": "American President, The (1995)"},
    }
    assert "user_id = userId, item_id = movieId, value = rating" in done.said


def test_gorse_csv(tmp_path: Path) -> None:
    done = load(
        tmp_path,
        (
            "feedback.csv",
            "feedback_type,user_id,item_id,time_stamp\r\n"
            "click,0,2,2020-01-01 01:01:01.000000001 +0000 UTC\r\n"
            "read,2,6,2021-01-01 02:00:00 +0100 CET\r\n"
            "star,1,2,2022-01-01 01:01:01 +0000 UTC\r\n",
        ),
        (
            "items.csv",
            "item_id,is_hidden,categories,time_stamp,labels,description\r\n"
            '2,false,x|y,2020-01-01 01:01:01.000000001 +0000 UTC,a|b,"o,n,e"\r\n'
            '6,true,,2022-01-01 01:01:01.000000001 +0000 UTC,"{""genre"":[""comedy""]}","t\r\nw"\r\n',
        ),
    )
    assert done.types == {"click": 1, "view": 1, "like": 1}
    assert [event["timestamp"] for event in done.events] == [1577840461000, 1640998861000, 1609462800000]
    assert done.items["2"] == {
        "is_hidden": False,
        "categories": ["x", "y"],
        "timestamp": "2020-01-01T01:01:01Z",
        "labels": ["a", "b"],
        "description": "o,n,e",
    }
    assert done.items["6"]["labels"] == {"genre": ["comedy"]}
    assert done.items["6"]["is_hidden"] is True


def test_gorse_json(tmp_path: Path) -> None:
    done = load(
        tmp_path,
        (
            "feedback.json",
            json.dumps(
                [
                    {
                        "FeedbackType": "read",
                        "UserId": "u",
                        "ItemId": "i",
                        "Value": 0,
                        "Timestamp": "2023-05-01T00:00:00Z",
                        "Comment": "",
                    },
                    {
                        "FeedbackType": "star",
                        "UserId": "v",
                        "ItemId": "i",
                        "Timestamp": "2023-05-02T00:00:00Z",
                    },
                ]
            ),
        ),
        (
            "items.json",
            lines(
                {
                    "ItemId": "i",
                    "IsHidden": False,
                    "Categories": ["x"],
                    "Timestamp": "2023-04-01T12:00:00.5Z",
                    "Labels": ["a"],
                    "Comment": "An item",
                },
                {"ItemId": "j", "Categories": None, "Timestamp": "0001-01-01T00:00:00Z"},
            ),
        ),
    )
    assert done.types == {"view": 1, "like": 1}
    assert done.values() == [("u", "i", None), ("v", "i", None)]
    assert done.items["i"] == {
        "is_hidden": False,
        "categories": ["x"],
        "timestamp": "2023-04-01T12:00:00.500000Z",
        "labels": ["a"],
        "description": "An item",
    }
    assert done.items["j"] == {}


def profiles(folder: Path, name: str, content: str) -> dict[str, dict[str, object]]:
    """The attributes of users after importing a file of them."""
    home = folder / "home"
    done = imported(home, "--users", write(folder, name, content))
    assert "users read" in done.said
    with open_store(None, home) as store:
        return {user.user_id: dict(user.attributes) for user in store.list_users(None, 100)}


def test_users_of_gorse(tmp_path: Path) -> None:
    rows = "user_id,labels\r\n1,a|b\r\n2,\r\n3,"
    known = profiles(tmp_path, "users.csv", rows + '"{""city"":[""Oslo""]}"\r\n')
    assert known == {"1": {"labels": ["a", "b"]}, "2": {}, "3": {"labels": {"city": ["Oslo"]}}}
    known = profiles(
        tmp_path,
        "users.json",
        lines({"UserId": "9", "Labels": ["x"], "Subscribe": None, "Comment": "met in Oslo"}),
    )
    assert known["9"] == {"labels": ["x"], "comment": "met in Oslo"}


def test_users_of_other_formats(tmp_path: Path) -> None:
    assert profiles(tmp_path, "users.dat", "1::F::1::10::48067\n") == {
        "1": {"gender": "F", "age": 1, "occupation": 10, "zip_code": 48067}
    }
    assert profiles(tmp_path, "u.user", "2|24|M|technician|85711\n")["2"]["occupation"] == "technician"
    assert profiles(tmp_path, "p.csv", "USER_ID,GENDER\n3,F\n")["3"] == {"gender": "F"}
    recbole = "user_id:token\tage:token\tgender:token\n4\t24\tM\n"
    assert profiles(tmp_path, "ml-100k.user", recbole)["4"] == {"age": 24, "gender": "M"}
    assert profiles(tmp_path, "own.csv", "userId,interests\n5,jazz and tea\n")["5"] == {
        "interests": "jazz and tea"
    }


def test_amazon_2014(tmp_path: Path) -> None:
    review = {
        "reviewerID": "A2SUAM1J3GNN3B",
        "asin": "0000013714",
        "reviewerName": "J. McDonald",
        "helpful": [2, 3],
        "reviewText": "I bought this for my husband",
        "overall": 5.0,
        "summary": "Heavenly Highway Hymns",
        "unixReviewTime": 1252800000,
        "reviewTime": "09 13, 2009",
    }
    # The metadata of 2014 are Python dictionaries rather than JSON.
    meta = (
        "{'asin': '0000013714', 'title': \"Heavenly Highway Hymns &amp; More\", 'price': 7.99, "
        "'imUrl': 'http://ecx.images-amazon.com/x.jpg', 'related': {'also_bought': ['B1']}, "
        "'salesRank': {'Books': 1}, 'categories': [['Books', 'Music'], ['Books', 'Hymns']]}\n"
    )
    done = load(tmp_path, ("reviews_Books.json", lines(review)), ("meta_Books.json", meta))
    assert done.values() == [("A2SUAM1J3GNN3B", "0000013714", 5.0)]
    assert done.events[0]["timestamp"] == 1252800000000
    assert done.events[0]["text"] == "I bought this for my husband"
    assert done.items["0000013714"] == {
        "title": "Heavenly Highway Hymns & More",
        "price": 7.99,
        "categories": ["Books", "Music", "Hymns"],
    }
    assert "not stored: imUrl, related, salesRank" in done.said


def test_amazon_2018(tmp_path: Path) -> None:
    review = {
        "overall": 3.0,
        "vote": "67",
        "verified": True,
        "reviewTime": "09 18, 1999",
        "reviewerID": "AAP7PPBU72QFM",
        "asin": "0151004714",
        "style": {"Format:": " Hardcover"},
        "reviewerName": "D. C.",
        "reviewText": "This is",
        "summary": "A",
        "unixReviewTime": 937612800,
    }
    meta = {
        "category": ["Books", "Literature &amp; Fiction"],
        "description": ["A story", ""],
        "title": "The Book",
        "also_buy": ["X"],
        "image": [],
        "brand": "Some",
        "rank": "1 in Books",
        "price": "$1,012.50",
        "asin": "0151004714",
    }
    done = load(tmp_path, ("Books_5.json", lines(review)), ("meta_Books.json", lines(meta)))
    assert done.values() == [("AAP7PPBU72QFM", "0151004714", 3.0)]
    assert done.items["0151004714"] == {
        "categories": ["Books", "Literature & Fiction"],
        "description": ["A story"],
        "title": "The Book",
        "brand": "Some",
        "price": 1012.5,
    }


def test_what_is_no_price_is_left_out_and_counted(tmp_path: Path) -> None:
    prices = ["$9.99 - $19.99", "", ".a-box{}", "$5"]
    products = [{"asin": f"a{n}", "title": "T", "price": price} for n, price in enumerate(prices)]
    done = load(tmp_path, None, ("meta_Books.json", lines(*products)))
    assert [done.items[f"a{n}"].get("price") for n in range(4)] == [None, None, None, 5.0]
    assert "price: left out, not a price 2 line 1: price: '$9.99 - $19.99' is left out" in done.said


def test_amazon_2023(tmp_path: Path) -> None:
    review = {
        "rating": 5.0,
        "title": "Such a lovely scent",
        "text": "This spray is really nice.",
        "images": [],
        "asin": "B00YQ6X8EO",
        "parent_asin": "B00YQ6X8EP",
        "user_id": "AGKHLEW2SOWHNMFQIJGBECAF7INQ",
        "timestamp": 1588687728923,
        "helpful_vote": 0,
        "verified_purchase": True,
    }
    meta = {
        "main_category": "All Beauty",
        "title": "Herbivore Spray",
        "average_rating": 4.3,
        "rating_number": 384,
        "features": ["Vegan"],
        "description": ["A spray"],
        "price": None,
        "images": [{"thumb": "https://x"}],
        "videos": [],
        "store": "Herbivore",
        "categories": ["Beauty"],
        "details": {"Brand": "Herbivore"},
        "parent_asin": "B00YQ6X8EP",
        "bought_together": None,
    }
    done = load(tmp_path, ("All_Beauty.jsonl", lines(review)), ("meta_All_Beauty.jsonl", lines(meta)))
    assert done.values() == [("AGKHLEW2SOWHNMFQIJGBECAF7INQ", "B00YQ6X8EP", 5.0)]
    assert done.events[0]["timestamp"] == 1588687728923
    assert done.events[0]["text"] == "This spray is really nice."
    assert done.items["B00YQ6X8EP"]["title"] == "Herbivore Spray"
    assert done.items["B00YQ6X8EP"]["features"] == ["Vegan"]
    assert "images" not in done.items["B00YQ6X8EP"]


def test_amazon_ratings_without_a_header(home: Path, tmp_path: Path) -> None:
    old = write(tmp_path, "ratings_Books.csv", "AH2L9G3DQHHAJ,0000000116,4.0,1019865600\n")
    assert imported(home, "--events", old).values() == [("AH2L9G3DQHHAJ", "0000000116", 4.0)]
    new = write(tmp_path, "Books.csv", "0001713353,A1C6M8LCIX4M6M,5.0,1123804800\n")
    done = imported(home, "--events", new, "--format", "amazon-ratings-2018")
    assert ("A1C6M8LCIX4M6M", "0001713353", 5.0) in done.values()


def test_amazon_personalize(tmp_path: Path) -> None:
    done = load(
        tmp_path,
        (
            "interactions.csv",
            "USER_ID,ITEM_ID,TIMESTAMP,EVENT_TYPE,EVENT_VALUE\n"
            "u1,i1,1586731606,Watch,\nu1,i2,1586731609,Click,\nu2,i1,1586735164,AddToCart,1\n",
        ),
        (
            "items.csv",
            "ITEM_ID,CATEGORY_L1,GENRES,PRICE,DESCRIPTION\n"
            "i1,Books|Fiction,Action|Drama,7.5,A book\ni2,Toys,,3,\n",
        ),
    )
    assert done.types == {"play": 1, "click": 1, "add_to_cart": 1}
    assert done.items["i1"] == {
        "category_l1": ["Books", "Fiction"],
        "genres": ["Action", "Drama"],
        "price": 7.5,
        "description": "A book",
    }
    assert done.items["i2"] == {"category_l1": ["Toys"], "price": 3}


PLAYS = (
    "00000c289a\t3bd73256-3905-4f3a-97e2-8b341527f805\tbetty blowtorch\t2137\n"
    "00000c289a\tf2fb0ff0-5679-42ec-a55c-15109ce6e320\tdie Ärzte\t1099\n"
    '00001411dc\t\t"weird" name\t12\n'
    "00001411dc\tf2fb0ff0-5679-42ec-a55c-15109ce6e320\tdie Ärzte\t3\n"
)


def test_lastfm_360k(tmp_path: Path) -> None:
    name = "usersha1-artmbid-artname-plays.tsv"
    done = load(tmp_path, (name, PLAYS), (name, PLAYS))
    assert done.types == {"play": 4}
    assert ("00000c289a", "3bd73256-3905-4f3a-97e2-8b341527f805", 2137.0) in done.values()
    assert ("00001411dc", '"weird" name', 12.0) in done.values()
    assert done.items == {
        "3bd73256-3905-4f3a-97e2-8b341527f805": {"name": "betty blowtorch"},
        "f2fb0ff0-5679-42ec-a55c-15109ce6e320": {"name": "die Ärzte"},
        '"weird" name': {"name": '"weird" name'},
    }
    assert "without times" in done.said
    again = load(tmp_path, (name, PLAYS), None)
    assert again.events == done.events
    assert "0 new" in again.said or "0 events imported (4 were there already)" in again.said


def test_lastfm_1k(tmp_path: Path) -> None:
    name = "userid-timestamp-artid-artname-traid-traname.tsv"
    plays = (
        "user_000001\t2009-05-04T23:08:57Z\tf1b1cf71\tDeep Dish\t87c94c4b\tFuck Me Im Famous\n"
        "user_000001\t2009-05-04T13:54:10Z\ta7f7df4a\t坂本龍一\t\tComposition 0919\n"
        "user_000002\t2009-05-05T13:54:10Z\tf1b1cf71\tDeep Dish\t87c94c4b\tFuck Me Im Famous\n"
    )
    done = load(tmp_path, (name, plays), (name, plays))
    assert done.types == {"play": 3}
    assert [event["item_id"] for event in done.events] == ["87c94c4b", "Composition 0919", "87c94c4b"]
    assert done.events[0]["timestamp"] == 1241478537000
    assert done.items["Composition 0919"] == {"title": "Composition 0919", "artist": "坂本龍一"}
    assert len(done.items) == 2


def test_lastfm_hetrec(tmp_path: Path) -> None:
    done = load(
        tmp_path,
        ("user_artists.dat", "userID\tartistID\tweight\n2\t51\t13883\n2\t52\t11690\n3\t51\t1\n"),
        (
            "artists.dat",
            "id\tname\turl\tpictureURL\n"
            "51\tDuran Duran\thttp://www.last.fm/music/Duran+Duran\thttp://userserve-ak.last.fm/1.jpg\n"
            '52\tThe "Morcheeba"\thttp://www.last.fm/music/Morcheeba\thttp://userserve-ak.last.fm/2.jpg\n',
        ),
    )
    assert done.types == {"play": 3}
    assert done.values() == [("2", "51", 13883.0), ("2", "52", 11690.0), ("3", "51", 1.0)]
    assert done.items["52"]["name"] == 'The "Morcheeba"'
    assert "BERT does not read: picture_url (addresses), url (addresses)" in done.said


def test_retailrocket(tmp_path: Path) -> None:
    done = load(
        tmp_path,
        (
            "events.csv",
            "timestamp,visitorid,event,itemid,transactionid\n1433221332117,257597,view,355908,\n"
            "1433224214164,992329,addtocart,248676,\n1433221999827,111016,transaction,318965,4000\n",
        ),
        (
            "item_properties_part1.csv",
            "timestamp,itemid,property,value\n1435460400000,355908,categoryid,1338\n"
            "1441508400000,355908,888,1116713 960601 n277.200\n1439089200000,355908,categoryid,1059\n"
            "1431226800000,355908,available,0\n1442113200000,318965,790,n91200.000\n",
        ),
    )
    assert done.types == {"view": 1, "add_to_cart": 1, "purchase": 1}
    assert {event["timestamp"] for event in done.events} == {1433221332117, 1433224214164, 1433221999827}
    assert done.items == {"355908": {"category": "1059", "available": "0"}, "318965": {}}
    assert "hashed properties are not" in done.said


def test_hm(tmp_path: Path) -> None:
    customer = "000058a12d5b43e67d225668fa1f8d618c13dc232df0cad8ffe7ad4a1091e318"
    done = load(
        tmp_path,
        (
            "transactions_train.csv",
            "t_dat,customer_id,article_id,price,sales_channel_id\n"
            f"2018-09-20,{customer},0663713001,0.0508305084745762,2\n"
            f"2018-09-20,{customer},0541518023,0.0304915254237288,2\n"
            f"2018-09-20,{customer},0541518023,0.0304915254237288,2\n",
        ),
        (
            "articles.csv",
            "article_id,product_code,prod_name,product_type_no,product_type_name,detail_desc\n"
            "0663713001,663713,Strap top,253,Vest top,Jersey top with narrow straps.\n"
            '0541518023,541518,OP T-shirt (Idro),306,Bra,"Microfibre, padded"\n',
        ),
    )
    assert done.types == {"purchase": 3}
    assert {event["item_id"] for event in done.events} == {"0663713001", "0541518023"}
    assert done.events[0]["timestamp"] == 1537401600000
    assert done.items["0541518023"] == {
        "title": "OP T-shirt (Idro)",
        "description": "Microfibre, padded",
        "product_code": 541518,
        "product_type_no": 306,
        "product_type_name": "Bra",
    }


def test_yelp(tmp_path: Path) -> None:
    review = {
        "review_id": "KU_O5udG6zpxOg-VcAEodg",
        "user_id": "mh_-eMZ6K5RLWhZyISBhwA",
        "business_id": "XQfwVwDr-v0ZS3_CbbE5Xw",
        "stars": 3.0,
        "useful": 0,
        "text": "If you decide to eat here",
        "date": "2018-07-07 22:09:11",
    }
    business = {
        "business_id": "XQfwVwDr-v0ZS3_CbbE5Xw",
        "name": "Turning Point",
        "city": "North Wales",
        "stars": 3.0,
        "is_open": 1,
        "attributes": {"NoiseLevel": "u'average'"},
        "categories": "Restaurants, Breakfast & Brunch",
        "hours": {"Monday": "7:30-15:0"},
    }
    done = load(
        tmp_path,
        ("yelp_academic_dataset_review.json", lines(review, {**review, "review_id": "other", "stars": 1.0})),
        (
            "yelp_academic_dataset_business.json",
            lines(business, {**business, "business_id": "b", "categories": None}),
        ),
    )
    assert [event["value"] for event in done.events] == [3.0, 1.0]
    assert done.events[0]["event_id"] == "KU_O5udG6zpxOg-VcAEodg"
    assert done.events[0]["timestamp"] == 1531001351000
    assert done.events[0]["text"] == "If you decide to eat here"
    assert done.items["XQfwVwDr-v0ZS3_CbbE5Xw"]["categories"] == ["Restaurants", "Breakfast & Brunch"]
    assert "categories" not in done.items["b"]


def test_book_crossing(tmp_path: Path) -> None:
    books = (
        '"ISBN";"Book-Title";"Book-Author";"Year-Of-Publication";"Publisher";"Image-URL-S";"Image-URL-M";"Image-URL-L"\r\n'
        '"0195153448";"Classical &amp; Mythology";"Mark P. O. Morford";"2002";"Oxford";"http://a/S.jpg";"http://a/M.jpg";"http://a/L.jpg"\r\n'
        '"034545104X";"Caf\xe9 \\"Flesh; Tones\\"";"M. J. Rose";"2002";"Ballantine";"http://b/S.jpg";"http://b/M.jpg";"http://b/L.jpg"\r\n'
    ).encode("latin-1")
    done = load(
        tmp_path,
        (
            "BX-Book-Ratings.csv",
            '"User-ID";"ISBN";"Book-Rating"\r\n"276725";"034545104X";"0"\r\n"276726";"0155061224";"1"\r\n'
            '"276729";"052165615X";"10"\r\n"276729";"0521795028";"6"\r\n',
        ),
        ("BX-Books.csv", books),
    )
    assert done.types == {"view": 1, "rating": 3}
    assert done.values() == [
        ("276725", "034545104X", None),
        ("276726", "0155061224", 0.5),
        ("276729", "052165615X", 5.0),
        ("276729", "0521795028", 3.0),
    ]
    assert "ratings 1 to 10 become 0.5 to 5, linearly" in done.said
    assert "a value of 0 means none" in done.said
    assert done.items["0195153448"]["title"] == "Classical & Mythology"
    assert done.items["034545104X"] == {
        "title": 'Café "Flesh; Tones"',
        "author": "M. J. Rose",
        "year": 2002,
        "publisher": "Ballantine",
        "image_url": "http://b/L.jpg",
    }


def test_recbole(tmp_path: Path) -> None:
    done = load(
        tmp_path,
        (
            "ml-100k.inter",
            "user_id:token\titem_id:token\trating:float\ttimestamp:float\n196\t242\t3\t881250949\n186\t302\t3.5\t891717742\n",
        ),
        (
            "ml-100k.item",
            "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
            "242\tToy Story\t1995\tAnimation Children's Comedy\n302\tGet Shorty\t1995\tAction\n",
        ),
    )
    assert done.values() == [("186", "302", 3.5), ("196", "242", 3.0)]
    assert done.events[1]["timestamp"] == 881250949000
    assert done.items["242"] == {
        "title": "Toy Story",
        "release_year": 1995,
        "class": ["Animation", "Children's", "Comedy"],
    }


def test_recbole_with_other_ids_and_no_times(tmp_path: Path) -> None:
    done = load(
        tmp_path, ("lastfm.inter", "user_id:token\tartist_id:token\tweight:float\n2\t51\t138\n"), None
    )
    assert done.types == {"view": 1}
    assert "item_id = artist_id:token" in done.said
    assert "without times" in done.said


def test_anime(tmp_path: Path) -> None:
    done = load(
        tmp_path,
        ("rating.csv", "user_id,anime_id,rating\n1,20,-1\n1,24,10\n2,20,1\n3,24,0\n"),
        (
            "anime.csv",
            "anime_id,name,genre,type,episodes,rating,members\n"
            '20,Naruto,"Action, Comedy, Martial Arts",TV,220,7.81,683297\n'
            "24,School Rumble,,TV,Unknown,8.1,178553\n",
        ),
    )
    assert done.types == {"view": 2, "rating": 2}
    assert done.values() == [("1", "20", None), ("1", "24", 5.0), ("2", "20", 0.5), ("3", "24", None)]
    assert done.items["20"]["genres"] == ["Action", "Comedy", "Martial Arts"]
    assert done.items["20"]["rating"] == 7.81


def test_taobao(tmp_path: Path) -> None:
    done = load(
        tmp_path,
        (
            "UserBehavior.csv",
            "1,2268318,2520377,pv,1511544070\n1,2333346,2520771,buy,1511561733\n"
            "2,2576651,149192,cart,1511572885\n2,4,149192,fav,1511572885\n",
        ),
        None,
    )
    assert done.types == {"view": 1, "purchase": 1, "add_to_cart": 1, "like": 1}


def test_scales_are_those_of_the_configuration(home: Path, tmp_path: Path) -> None:
    home.mkdir()
    (home / "recserve.yaml").write_text("events: {rating: {weight: 1.0, value_range: [1, 10]}}\n")
    ratings = write(tmp_path, "rating.csv", "user_id,anime_id,rating\n1,24,7\n")
    done = imported(home, "--events", ratings)
    assert done.values() == [("1", "24", 7.0)]
    assert "become" not in done.said


def test_a_type_that_is_configured_keeps_its_name(home: Path, tmp_path: Path) -> None:
    home.mkdir()
    (home / "recserve.yaml").write_text("events: {read: {weight: 1.5}}\n")
    feedback = write(
        tmp_path,
        "f.csv",
        "feedback_type,user_id,item_id,time_stamp\nread,u,i,2020-01-01 00:00:00 +0000 UTC\n",
    )
    assert imported(home, "--events", feedback).types == {"read": 1}
