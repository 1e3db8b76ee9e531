"""Small collections made of nothing, as real encoded videos in the layouts that the authors ship."""
