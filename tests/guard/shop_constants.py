"""Constants of an app that another module of it imports."""

NAMED_ELSEWHERE = "shop.visitors"
