"""Constants of an app that another module of it imports."""

NAMED_ELSEWHERE = "shop.visitors"
ELSEWHERE = {"shop.till": 1}
LISTED_ELSEWHERE = ("shop.door", "shop.window")
